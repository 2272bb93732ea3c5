"""hashcli index: make or refresh an index."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hashcli.cli.console import SKIPPED, ProgressBar, printable, say, stop_with, write_json
from hashcli.cli.inputs import with_stdin
from hashcli.cli.options import IndexFolder, IndexName, Json, complete_model, index_location
from hashcli.cli.remedies import index_command

if TYPE_CHECKING:
    from hashcli.index.summary import UpdateSummary

EXAMPLES = """Examples:\n
hashcli index ~/Pictures          index a folder, or bring it up to date\n
hashcli index                     bring everything indexed before up to date\n
hashcli index captions.jsonl      texts about photos: {"image": "dog.jpg", "text": "a dog"} a line\n
find . -name '*.jpg' | hashcli index -\n
hashcli index --watch ~/Pictures  keep it up to date until Ctrl-C\n
hashcli index --index ./photos/.hashcli ./photos      an index that moves with its photos"""


def run(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Photos, folders of photos, text files (.txt, .jsonl, .csv), or - for a list on stdin. "
            "Without any: all indexed before."
        ),
    ] = None,
    index: IndexFolder = None,
    name: IndexName = None,
    model: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_model,
            help="Hash model, by name or folder.",
            show_default="the index's own, or lite-256",
        ),
    ] = None,
    rehash: Annotated[bool, typer.Option("--rehash", help="Encode everything again, also with another model.")] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Enter hidden folders and take hidden files.")] = False,
    no_texts: Annotated[
        bool, typer.Option("--no-texts", help="Photos only: text files are left alone, and texts wait to be encoded.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Then follow the changes on disk, until Ctrl-C. Needs the extra `watch`.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop the given files and folders from the index; they stay on disk.")
    ] = False,
    json: Json = False,
) -> None:
    """Make or refresh an index of photos and their texts.

    Only what is new or changed is read and encoded.

    Texts are taken from dog.txt or dog.jpg.txt beside dog.jpg (each line is one), from descriptions in the photos
    themselves (EXIF, IPTC, XMP), and from files given by name: a list of captions (.jsonl or .csv with image and
    text), or lines of text (.txt).

    Files that were moved or renamed keep their codes, those that are gone are removed, and a folder that cannot be
    reached keeps its photos. It can be stopped at any moment: run it again and it goes on.
    """
    from hashcli.index import update
    from hashcli.index.catalog import FILE_NAME
    from hashcli.index.files.paths import canonical
    from hashcli.index.summary import UpdateSummary

    location = index_location(index, name)
    folder = location.folder
    named = list(with_stdin(paths or []))
    given = [canonical(path) for path in named]
    if not paths and (forget or not (folder / FILE_NAME).exists()):
        stop_with(
            "No path was given.", f"Name photos or folders of photos: {index_command(location)} ~/Pictures", status=2
        )
    if forget and (dry_run or rehash or watch):
        stop_with("--forget stands alone: it cannot be tried or combined.", status=2)
    if watch and dry_run:
        stop_with("--watch and --dry-run cannot be combined.", status=2)
    if paths and not given:  # a search for what is new may find nothing
        say("No path was listed on stdin.")
        if json and not (forget or dry_run):
            write_json(UpdateSummary().counts())
        raise typer.Exit()
    if forget:  # what is reached through a linked folder is known by the link
        photos, texts = update.forget(folder, [*given, *map(os.path.abspath, named)])
        if json:
            write_json({"removed": photos, "texts_removed": texts})
        else:
            if not photos and not texts:
                stop_with(f"The index in {folder} holds no photos or texts of that name, or below it.")
            dropped = f"{photos} photos and {texts} texts" if texts else f"{photos} photos"
            say(f"{dropped} dropped from the index in {folder}. What lies in an indexed folder comes back.")
        raise typer.Exit(0 if photos or texts else 1)
    if dry_run:
        with ProgressBar("Encoding") as reporter:
            changes, left_out = update.preview(
                folder, given, reporter, rehash=rehash, hidden=hidden, texts=not no_texts
            )
        for change in changes:
            if json:
                moved_from = {"moved_from": change.moved_from} if change.moved_from else {}
                write_json({"action": change.action, "path": change.path} | moved_from)
            else:
                source = f"{change.moved_from} -> " if change.moved_from else ""
                print(f"{change.action}\t{printable(source + change.path)}")
        say(f"{len(changes)} changes; nothing was done.")
        raise typer.Exit(SKIPPED if left_out else 0)

    def refresh(reporter: ProgressBar, *, again: bool = False) -> UpdateSummary:
        with reporter:
            return update.update(
                folder, given, reporter, model=model, rehash=rehash and not again, hidden=hidden, texts=not no_texts
            )

    try:
        if watch:
            _follow(folder, given, refresh, hidden=hidden, json=json)
        summary = refresh(ProgressBar("Encoding"))
    except KeyboardInterrupt:
        stop_with("Stopped. What was encoded is kept.", "To go on, run the same command again.", status=130)
    _tell(summary, json=json)
    if not given and not any(summary.counts().values()) and not update.indexed(folder):
        say(f"Nothing is indexed. Name photos or folders of photos: {index_command(location)} ~/Pictures")
    elif given and not any(summary.counts().values()):
        say("No photos were found there.")
    if summary.skipped:
        raise typer.Exit(SKIPPED)


def _tell(summary: "UpdateSummary", *, json: bool) -> None:
    """The counts: an object on stdout, or a line on stderr with those that are not zero."""
    counts = summary.counts()
    if json:
        write_json(counts)
        return
    photos = [name for name in counts if not name.startswith("texts_")]
    said = [f"{counts[name]} {name}" for name in photos if counts[name] or name in ("added", "skipped")]
    texts = [f"{count} {name.removeprefix('texts_')}" for name, count in counts.items() if count and name not in photos]
    say("; texts: ".join(", ".join(part) for part in (said, texts) if part))


def _follow(
    folder: Path, given: list[str], refresh: Callable[..., "UpdateSummary"], *, hidden: bool, json: bool
) -> NoReturn:
    """Update, and again after each burst of changes. Of later runs only what they changed is told."""
    from time import sleep

    from hashcli.index.catalog import FILE_NAME
    from hashcli.index.files.watch import bursts, check_installed
    from hashcli.index.update import BusyError, indexed

    check_installed()
    reporter = _NewSkips("Encoding")
    again = False
    for _ in bursts(given or indexed(folder), folder, hidden=hidden):
        if again and not (folder / FILE_NAME).exists():
            continue  # away with the disk it is on: it must not be made anew in the empty mount point
        while True:
            try:
                summary = refresh(reporter, again=again)
                break
            except BusyError:
                sleep(1)
        if not again or summary.changed():
            _tell(summary, json=json)
        if not again:
            say("Watching for changes; Ctrl-C ends it.")
        again = True
    raise AssertionError("watching ends by an interrupt only")


class _NewSkips(ProgressBar):
    """Names what is skipped once, not after each change of something else."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing)
        self._named: set[tuple[str, str]] = set()

    def skipped(self, path: str, reason: str) -> None:
        if (path, reason) not in self._named:
            self._named.add((path, reason))
            super().skipped(path, reason)
