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
from hashcli.printable import human_size, printable

if TYPE_CHECKING:
    from hashcli.index.duplicates import DuplicatePhoto, Duplicates

EXAMPLES = """Examples:
hashcli duplicates                   all groups, each with the photo to keep first
hashcli duplicates ~/Pictures/2024 --exact
hashcli duplicates --json | jq '.photos[0].path'
hashcli duplicates --extras -0 | xargs -0 trash      keep one of each file"""

_LOOK_FIRST = "Edited versions are among them: look before you delete."


# Long because typer reads the options from the signature.
def run(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Compare only photos in these folders; - to read a list from stdin.", show_default=False),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Find only byte-for-byte copies.")] = False,
    max_distance: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Read and compare only photos whose codes differ in at most this many bits.",
            show_default="all that look alike",
        ),
    ] = None,
    extras: Annotated[
        bool,
        typer.Option(
            "--extras", help="Print only the files you could delete: byte-for-byte copies of one that is kept."
        ),
    ] = False,
    edited: Annotated[
        bool,
        typer.Option(
            "--edited",
            help="With --extras: also smaller and edited versions. Look at them first.",
        ),
    ] = False,
    index: IndexFolder = None,
    name: IndexName = None,
    json: Json = False,
    print0: Annotated[
        bool, typer.Option("-0", "--print0", help="With --extras: end each path with a zero byte, for xargs -0.")
    ] = False,
) -> None:
    """Find duplicate photos, edited ones included.

    Duplicates are copies, and smaller, recompressed, grey or slightly edited versions. Every photo is read, and those
    that look alike are compared block by block, so that different photos of one scene do not count. Neither do photos
    whose EXIF says that they are different shots. A camera RAW file never counts as a duplicate of its JPEG, and files
    with several frames, and pictures that show next to nothing, are duplicates only if all their bytes are the same.

    Each group begins with the largest picture (then the largest file, then the oldest), and all others are duplicates
    of that one. Metadata in the files (date, description) does not affect which one comes first. Photos that have
    changed since they were indexed are left out, and so are further names of the same file.
    """
    _check_output_options(exact=exact, extras=extras, edited=edited, json=json, print0=print0)
    exact = exact or (extras and not edited)
    if exact and max_distance is not None:
        stop_with(
            "Only byte-for-byte copies are looked for, so --max-distance has no effect.",
            "Leave out --exact, or add --edited to --extras.",
            status=2,
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
            "No photo in these folders is in the index." if within else f"The index in {folder} holds no photos.",
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
        say(f"Changed or deleted since they were indexed: {len(found.stale)}, including {min(found.stale)}")
        say(f"To update the index: {index_command(location)}")
    extra = _extra(found)
    if not extra:
        say(f"No duplicates among {found.compared} photos.")
        return
    say(f"Groups of duplicates: {len(found.groups)}; extra photos in them: {_count(extra)}.")
    if not all(photo.identical for photo in extra):
        if not extras:
            with with_remedies(location):  # copies of edited versions count too, which the groups do not show
                copies = _extra(find_duplicates(folder, DuplicateOptions(tuple(within), exact=True)))
            say(f"--extras prints the identical copies, {_count(copies)}; --extras --edited prints all {len(extra)}.")
        say(_LOOK_FIRST)
    elif not extras:
        say("They are identical copies; --extras prints them.")


def _extra(found: "Duplicates") -> "list[DuplicatePhoto]":
    """All but the first of each group."""
    return [photo for group in found.groups for photo in group[1:]]


def _count(photos: "list[DuplicatePhoto]") -> str:
    return f"{len(photos)}, {human_size(sum(photo.bytes for photo in photos))}"


def _check_output_options(*, exact: bool, extras: bool, edited: bool, json: bool, print0: bool) -> None:
    """Stop if options that exclude each other were given."""
    if print0 and not extras:
        stop_with("-0 needs --extras: a list of whole groups does not show which photos to keep.", status=2)
    if json and extras:
        stop_with("--json prints whole groups, --extras paths: choose one.", status=2)
    if edited and not extras:
        stop_with("--edited needs --extras; whole groups include edited versions anyway.", status=2)
    if edited and exact:
        stop_with("--edited and --exact cannot be combined.", status=2)


def _print(groups: "list[list[DuplicatePhoto]]") -> None:
    """Print paths, with a blank line between groups; on a terminal, each after its size and relation to the first."""
    for number, group in enumerate(groups):
        if number:
            print()
        for photo in group:
            facts = ""
            if sys.stdout.isatty():
                size = f"{photo.width} x {photo.height}" if photo.width else ""
                relation = "" if photo is group[0] else "copy" if photo.identical else f"{photo.distance} bits"
                facts = f"{size:>13}  {human_size(photo.bytes):>8}  {relation:>8}  "
            print(facts + printable(from_here(photo.path)))
