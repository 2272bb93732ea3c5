"""hashcli index: create or update an index."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hashcli.cli.console import SKIPPED, ProgressBar, say, stop_with, write_json
from hashcli.cli.inputs import with_stdin
from hashcli.cli.options import DeviceOption, IndexFolder, IndexName, Json, complete_model, index_location, say_device
from hashcli.cli.remedies import index_command, with_remedies
from hashcli.errors import HashcliError
from hashcli.printable import printable

if TYPE_CHECKING:
    from hashcli.index.locations import IndexLocation
    from hashcli.index.summary import PublishOptions, UpdateOptions, UpdateSummary

EXAMPLES = """Examples:\n
hashcli index ~/Pictures          index a folder, or update its index\n
hashcli index                     update everything indexed before\n
hashcli index captions.jsonl      captions, each line {"image": "dog.jpg", "text": "a dog"}\n
find . -name '*.jpg' | hashcli index -\n
hashcli index --exclude '*.png' --exclude /drafts ~/Pictures\n
hashcli index --ocr ~/Pictures    read the words in photos, too\n
hashcli index --watch ~/Pictures  keep it up to date until Ctrl-C\n
hashcli index --index ./photos/.hashcli ./photos      an index that moves with its photos\n
hashcli index --publish milvus://127.0.0.1:19530/archive      also into a collection on a Milvus server"""


# Long because typer reads the options from the signature.
def run(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Photos, folders of photos, text files (.txt, .jsonl, .csv), or - to read a list from stdin. "
            "If none is given: everything indexed before."
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
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Encode everything again, with another model if --model is given.")
    ] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Include hidden files and folders.")] = False,
    no_texts: Annotated[
        bool, typer.Option("--no-texts", help="Index photos only: skip text files, and leave texts to a later run.")
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave out files and folders, now and in later runs, by a pattern as in .gitignore. Can be repeated.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="PATTERN",
            help="Take what --exclude, or hashcli by itself, leaves out. Can be repeated.",
        ),
    ] = None,
    check_content: Annotated[
        bool,
        typer.Option("--check-content", help="Read every file, also those whose size and times have not changed."),
    ] = False,
    ocr: Annotated[
        bool | None,
        typer.Option(
            "--ocr/--no-ocr",
            help="Read the words in photos, now and in later runs, or stop that and drop what was read. Needs the "
            "extra `ocr`.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Then follow changes on disk until Ctrl-C. Needs the extra `watch`.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop the given files and folders from the index; they stay on disk.")
    ] = False,
    publish: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Then publish what has changed to a collection, milvus://HOST:PORT/COLLECTION, now and in later runs. "
            "Needs the extra `milvus`.",
        ),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL", help="With --publish: this machine's label. It is remembered.", show_default="host name"
        ),
    ] = None,
    published_as: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="With --publish: what takes the place of the indexed folders in paths, such as https://photos.example",
        ),
    ] = None,
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="With --publish, for a new collection: searches look at the likeliest part of the codes only, and may "
            "miss photos.",
        ),
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Take out what this machine has published, and publish everything again.")
    ] = False,
    unpublish: Annotated[
        bool,
        typer.Option("--unpublish", help="Take this machine's rows out of the collection, and publish no more."),
    ] = False,
    json: Json = False,
) -> None:
    """Create or update an index of photos and their texts.

    Only new and changed files are read and encoded.

    Texts come from dog.txt or dog.jpg.txt beside dog.jpg (one text per line), from what is written inside the photos
    (EXIF, IPTC, XMP), from .xmp sidecars and the JSON files of Google Takeout, and from files that you name: lists of
    captions (.jsonl or .csv, with image and text), or lines of text (.txt).

    Folders of systems and photo programs are left out, such as @eaDir and lost+found, and so is what --exclude or a
    .hashcliignore file in a folder says.

    Files that were moved or renamed keep their codes, files that were deleted are removed from the index, and photos in
    a folder that cannot be reached are kept. You can stop at any moment; the next run carries on from there.
    """
    from hashcli.index.catalog_file import FILE_NAME
    from hashcli.index.files.paths import canonical
    from hashcli.index.summary import PublishOptions, UpdateOptions, UpdateSummary

    location = index_location(index, name)
    folder = location.folder
    if unpublish:
        if paths or rebuild or approximate or machine or published_as or forget or dry_run or watch:
            stop_with("--unpublish can be combined with --publish ADDRESS, --index and --name only.", status=2)
        with with_remedies(location):
            _unpublish(folder, publish, json=json)
        return
    publishing = PublishOptions(publish, machine, published_as, rebuild, approximate)
    if publishing != PublishOptions() and (forget or dry_run):
        stop_with("--forget and --dry-run publish nothing: leave out the options that are for it.", status=2)
    named = list(with_stdin(paths or []))
    given = [canonical(path) for path in named]
    if not paths and (forget or not (folder / FILE_NAME).exists()):
        action = " --forget" if forget else ""
        remedy = f"Name photos or folders of photos: {index_command(location)}{action} ~/Pictures"
        stop_with("No path was given.", remedy, status=2)
    if forget and (dry_run or rehash or watch or exclude or include):
        stop_with("--forget cannot be combined with --dry-run, --rehash, --watch, --exclude or --include.", status=2)
    if watch and dry_run:
        stop_with("--watch and --dry-run cannot be combined.", status=2)
    if paths and not given:  # a script that lists new files may find none
        say("The list of paths on stdin is empty.")
        if json and not (forget or dry_run):
            write_json(UpdateSummary().counts())
        raise typer.Exit()
    options = UpdateOptions(
        model,
        rehash=rehash,
        hidden=hidden,
        texts=not no_texts,
        exclude=tuple(exclude or ()),
        include=tuple(include or ()),
        check_content=check_content,
        read_words=ocr,
        device=device,
    )
    with with_remedies(location):
        if forget:  # what is reached through a linked folder is indexed under the link's name
            _forget(folder, [*given, *map(os.path.abspath, named)], json=json)
            _publish(folder, publishing, json=json)
        elif dry_run:
            _preview(folder, given, options, json=json)
        else:
            try:
                if watch:
                    _follow(folder, given, options, publishing, json=json)
                _update(location, given, options, publishing, json=json)
            except KeyboardInterrupt:
                stop_with("Stopped. What was encoded is kept.", "To continue, run the same command again.", status=130)


def _forget(folder: Path, paths: list[str], *, json: bool) -> None:
    from hashcli.index.update import forget

    photos, texts = forget(folder, paths, _UpdateProgress("Encoding"))
    if json:
        write_json({"removed": photos, "texts_removed": texts})
    elif photos or texts:
        dropped = f"{photos} photos and {texts} texts" if texts else f"{photos} photos"
        say(f"{dropped} dropped from the index in {folder}. They stay out until they, or their folder, are named.")
    else:
        stop_with(f"The index in {folder} holds no photos or texts at or below that path.")


def _preview(folder: Path, given: list[str], options: "UpdateOptions", *, json: bool) -> None:
    """One line for each change: an object, or the action and the path after a tab."""
    from hashcli.index.preview import preview

    with _UpdateProgress("Encoding") as progress:
        changes, skipped = preview(folder, given, options, progress)
    for change in changes:
        if json:
            moved_from = {"moved_from": change.moved_from} if change.moved_from else {}
            write_json({"action": change.action, "path": change.path} | moved_from)
        else:
            source = f"{change.moved_from} -> " if change.moved_from else ""
            print(f"{change.action}\t{printable(source + change.path)}")
    say(f"{len(changes)} changes; nothing was done.")
    raise typer.Exit(SKIPPED if skipped else 0)


def _update(
    location: "IndexLocation", given: list[str], options: "UpdateOptions", publishing: "PublishOptions", *, json: bool
) -> None:
    from hashcli.index.files.plan import NO_SUCH_FILE
    from hashcli.index.update import indexed_paths, update

    with _UpdateProgress("Encoding") as progress:
        summary = update(location.folder, given, options, progress)
    _print_summary(summary, json=json)
    _publish(location.folder, publishing, json=json)
    not_there = {path for path, reason in summary.skipped if reason == NO_SUCH_FILE}
    if given and not_there.issuperset(given) and not options.rehash:
        stop_with("Nothing was indexed: no path that was given is there.")
    found_nothing = not any(summary.counts().values())
    if found_nothing and not given and not indexed_paths(location.folder):
        say(f"Nothing is indexed. Name photos or folders of photos: {index_command(location)} ~/Pictures")
    elif found_nothing and given:
        say("No photos were found there.")
    if summary.skipped or summary.damaged:
        raise typer.Exit(SKIPPED)


def _publish(folder: Path, options: "PublishOptions", *, json: bool) -> None:
    """Publish what has changed, if the index is published."""
    from hashcli.index.publish import publish, published_to
    from hashcli.index.summary import PublishOptions

    if options == PublishOptions() and not published_to(folder):
        return
    with _UpdateProgress("Publishing") as progress:
        summary = publish(folder, options, progress)
    if json:
        write_json({"published": summary.published, "withdrawn": summary.withdrawn})
    elif summary.published or summary.withdrawn or options.address:
        say(f"{summary.published} published to {published_to(folder)}, {summary.withdrawn} taken out.")


def _unpublish(folder: Path, address: str | None, *, json: bool) -> None:
    from hashcli.index.publish import unpublish

    count = unpublish(folder, address)
    if json:
        write_json({"withdrawn": count})
    else:
        say(f"{count} photos and texts were taken out of the collection.")


def _follow(
    folder: Path, given: list[str], options: "UpdateOptions", publishing: "PublishOptions", *, json: bool
) -> NoReturn:
    """Update, and again after each burst of changes, until Ctrl-C; later updates print their counts only if they
    changed anything."""
    from hashcli.index.catalog_file import FILE_NAME
    from hashcli.index.files.watch import check_installed, wait_for_changes
    from hashcli.index.summary import PublishOptions
    from hashcli.index.update import indexed_paths

    check_installed()
    progress = _UpdateProgress("Encoding", repeats=False)
    is_first = True
    for _ in _until_interrupted(wait_for_changes(given or indexed_paths(folder), folder, hidden=options.hidden)):
        if not is_first and not (folder / FILE_NAME).exists():
            continue  # its disk is not mounted: do not create a new index in the empty mount point
        summary = _update_when_free(folder, given, options, progress)
        if is_first or summary.changed():
            _print_summary(summary, json=json)
        try:
            _publish(folder, publishing, json=json)
        except HashcliError as error:
            if is_first:
                raise
            say(f"Not published: {error.problem}")  # the next burst of changes brings another try
        publishing = PublishOptions()
        if is_first:
            say("Watching for changes; press Ctrl-C to stop.")
        is_first = False
        options = replace(options, rehash=False, exclude=(), include=(), check_content=False, read_words=None)
    raise AssertionError("watching ends by an interrupt only")


def _until_interrupted(changes: Iterator[None]) -> Iterator[None]:
    """Changes as they come. Ctrl-C while waiting for one is how watching ends; in an update it is the caller's."""
    while True:
        try:
            next(changes)
        except KeyboardInterrupt:
            stop_with("Stopped watching. The next update takes up later changes.", status=130)
        yield


def _update_when_free(
    folder: Path, given: list[str], options: "UpdateOptions", progress: "_UpdateProgress"
) -> "UpdateSummary":
    """Update, as soon as no other process is writing the index."""
    from time import sleep

    from hashcli.index.lock import IndexBusyError
    from hashcli.index.update import update

    while True:
        try:
            with progress:
                return update(folder, given, options, progress)
        except IndexBusyError:
            sleep(1)


def _print_summary(summary: "UpdateSummary", *, json: bool) -> None:
    """The counts: an object on stdout, or a line on stderr with those that are not zero."""
    counts = summary.counts()
    if json:
        write_json(counts)
        return
    photos = [name for name in counts if not name.startswith("texts_")]
    of_photos = [f"{counts[name]} {name}" for name in photos if counts[name] or name in ("added", "skipped")]
    texts = {name.removeprefix("texts_").replace("_", " "): counts[name] for name in counts if name not in photos}
    of_texts = [f"{count} {name}" for name, count in texts.items() if count]
    say("; texts: ".join(", ".join(part) for part in (of_photos, of_texts) if part))
    if summary.texts_left_out:
        say("Texts that cameras and programs write by themselves were left out; --verbose and the log name them.")


class _UpdateProgress(ProgressBar):
    """Progress of updates. Without `repeats`, an input that every update skips is named only once."""

    def __init__(self, doing: str, *, repeats: bool = True) -> None:
        super().__init__(doing)
        self._repeats = repeats
        self._named: set[tuple[str, str]] = set()
        self._device = ""

    def encodes_on(self, device: str) -> None:
        if device != self._device:
            say_device(device)
        self._device = device

    def skipped(self, path: str, reason: str) -> None:
        from hashcli.index.files.ocr import OCR_MISSING
        from hashcli.index.files.plan import LEFT_OUT, NOT_REACHABLE

        if not self._repeats and (path, reason) in self._named:
            return
        self._named.add((path, reason))
        hint = " (--forget drops them)" if reason.startswith(NOT_REACHABLE) else ""
        hint = (
            f" (--include '{reason.removeprefix(LEFT_OUT).strip()}' takes it)" if reason.startswith(LEFT_OUT) else hint
        )
        hint = " (--no-ocr: do without)" if reason.startswith(OCR_MISSING) else hint
        super().skipped(path, reason + hint)
