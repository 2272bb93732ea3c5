"""hashcli duplicates: near-identical photos, in groups."""

import os
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from hashcli.cli.console import ProgressBar, from_here, say, stop_with, write_json, write_paths
from hashcli.cli.inputs import with_stdin
from hashcli.cli.options import IndexFolder, IndexName, Json, index_location
from hashcli.cli.remedies import index_command, with_remedies
from hashcli.errors import did_you_mean_path
from hashcli.printable import printable

if TYPE_CHECKING:
    from hashcli.index.duplicates import DuplicatePhoto

EXAMPLES = """Examples:
hashcli duplicates                   all groups, in each the one to keep first
hashcli duplicates ~/Pictures/2024 --exact
hashcli duplicates --json | jq '.photos[0].path'
hashcli duplicates --extras -0 | xargs -0 trash      keep one of each file"""

_LOOK_FIRST = "Pages of text and screenshots of one layout may be called the same: look before you delete."


# Long because typer reads the options from the signature.
def run(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Compare only photos in these folders; - for a list on stdin.", show_default=False),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Only files that are the same byte for byte.")] = False,
    max_distance: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Look at photos whose codes differ in so many bits at most. More finds more, and takes longer.",
            show_default="3 of 32 bits: 24 of 256",
        ),
    ] = None,
    extras: Annotated[
        bool,
        typer.Option("--extras", help="Print what could go: copies, byte for byte, of a file that is not printed."),
    ] = False,
    edited: Annotated[
        bool,
        typer.Option(
            "--edited",
            help="With --extras: also those that are smaller or edited. Look at them first: pages of text and "
            "screenshots of one layout look alike.",
        ),
    ] = False,
    index: IndexFolder = None,
    name: IndexName = None,
    json: Json = False,
    print0: Annotated[
        bool, typer.Option("-0", "--print0", help="With --extras: end each path by a zero byte, for xargs -0.")
    ] = False,
) -> None:
    """Find photos that are there more than once.

    These are copies, and smaller, recompressed or slightly edited versions.

    Photos whose codes are near are compared themselves, so that different photos of one scene do not count. Letters are
    too small for that: pages of text and screenshots of one layout may be called the same. A camera RAW file is never
    called the same as its JPEG, and files of several frames only if all bytes are the same.

    Each group begins with the largest picture (then the largest file, then the oldest), and the others are all like
    that one. What is written in the files (date, description) does not count for which one is kept. Photos that have
    changed since they were indexed are left out, and so are further names of the same file.
    """
    _check_output_options(exact=exact, extras=extras, edited=edited, json=json, print0=print0)
    exact = exact or (extras and not edited)
    if exact and max_distance is not None:
        stop_with(
            "Files are compared byte for byte, so --max-distance has no meaning.", "Or --extras with --edited?", 2
        )

    from hashcli.index.duplicates import DuplicateOptions, find_duplicates
    from hashcli.index.files.paths import canonical

    location = index_location(index, name)
    folder = location.folder
    within = [canonical(path) for path in with_stdin(paths or [])]
    if paths and not within:
        say("The list of paths is empty: nothing was compared.")
        return
    with with_remedies(location), ProgressBar("Comparing") as progress:
        found = find_duplicates(folder, DuplicateOptions(tuple(within), max_distance, exact), progress)
    if not found.compared:
        missing = next((path for path in within if not os.path.exists(path)), None)
        if missing:
            stop_with(f"{missing}: no such file or folder.{did_you_mean_path(missing)}")
        stop_with(
            "No photo there is in the index." if within else f"The index in {folder} holds no photos.",
            f"Add some: {index_command(location)} {shlex.join(paths or ['PATH-OF-PHOTOS'])}",
        )
    if json:
        for group in found.groups:
            write_json({"photos": [asdict(photo) for photo in group]})
    elif extras:
        write_paths((photo.path for group in found.groups for photo in group[1:]), "\0" if print0 else "\n")
    else:
        _print(found.groups)
    for path in found.unreadable:
        say(f"{path} could not be read and was not compared.")
    if found.stale:
        say(f"Changed or gone since they were indexed: {len(found.stale)}, {min(found.stale)} for one.")
        say(f"To refresh the index: {index_command(location)}")
    extra = [photo for group in found.groups for photo in group[1:]]
    if extra:
        megabytes = sum(photo.bytes for photo in extra) / 1e6
        say(f"Groups of the same photo: {len(found.groups)}; extras in them: {len(extra)}, of {megabytes:.1f} MB.")
        if not all(photo.identical for photo in extra):
            say(_LOOK_FIRST)
    else:
        say(f"No duplicates among {found.compared} photos.")


def _check_output_options(*, exact: bool, extras: bool, edited: bool, json: bool, print0: bool) -> None:
    """Stop if some of them exclude each other."""
    if print0 and not extras:
        stop_with("-0 is for other programs, and in whole groups nothing says what to keep: add --extras.", status=2)
    if json and extras:
        stop_with("--json prints whole groups, --extras paths: choose one.", status=2)
    if edited and not extras:
        stop_with("--edited goes with --extras; whole groups show edited photos without it.", status=2)
    if edited and exact:
        stop_with("--edited prints more than copies, --exact only copies: choose one.", status=2)


def _print(groups: "list[list[DuplicatePhoto]]") -> None:
    """Paths, a blank line between groups; for people, with what tells the members apart before them."""
    for number, group in enumerate(groups):
        if number:
            print()
        for photo in group:
            facts = ""
            if sys.stdout.isatty():
                size = f"{photo.width} x {photo.height}" if photo.width else ""
                relation = "" if photo is group[0] else "copy" if photo.identical else f"{photo.distance} bits"
                facts = f"{size:>13}  {photo.bytes / 1e6:7.2f} MB  {relation:>8}  "
            print(facts + printable(from_here(photo.path)))
