"""What the commands share: options, errors, progress, and how paths and rows are printed."""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hashcli.errors import did_you_mean_path, reason_of
from hashcli.index.summary import UpdateCallback
from hashcli.printable import printable as printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from hashcli.datasets.dataset import ImageTextDataset

_SUGGESTIONS = 5  # looking for what was meant takes a while, and a long list of what is gone is no typing error
SKIPPED = 3  # exit status: done, but some inputs were skipped

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
IndexFolder = Annotated[
    Path | None,
    typer.Option(
        "--index",
        readable=False,
        envvar="HASHCLI_INDEX",
        show_default=".hashcli in this folder or above, else in your data folder",
        help="The index folder. Put beside the photos, it can move with them.",
    ),
]


def complete_index_name(incomplete: str) -> list[str]:
    """The names for --name that begin so, for the shell."""
    return [name for name in all_indexes() if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """The installed hash models whose names begin so, for the shell."""
    from hashcli.hashmodel.registry import model_folders

    return [folder.name for folder in model_folders() if folder.name.startswith(incomplete)]


IndexName = Annotated[
    str | None,
    typer.Option("--name", autocompletion=complete_index_name, help="One of your named indexes, in place of --index."),
]
Download = Annotated[
    bool, typer.Option("--download", help="First fetch into --root what the publisher offers freely; it can resume.")
]
ProtocolName = Annotated[
    str | None,
    typer.Option("--protocol", help="Who is query and training set, and which pairs: MIR-A to MIR-D of mirflickr."),
]


def whole_numbers(option: str, given: str, example: str) -> tuple[int, ...]:
    """Numbers with commas between. Exits with 2 when they are not."""
    try:
        return tuple(int(number) for number in given.split(","))
    except ValueError:
        stop_with(f"{option} {given} is not a list of whole numbers.", f"For example: {option} {example}", status=2)


def open_dataset(name: str, root: Path | None, protocol: str | None, *, download: bool) -> "ImageTextDataset":
    """A dataset by name below `root`, or one's own by its path; a protocol may take other pairs of it."""
    from hashcli.datasets.registry import load_dataset

    if download:
        from hashcli.datasets.download import download as fetch

        if root is None:
            stop_with("--download: where to?", "Give --root, the folder for the dataset's files.", status=2)
        with ProgressReporter("Downloading (MiB)") as reporter:
            fetch(name, root, reporter)
    return load_dataset(name, root, protocol)


BESIDE_PHOTOS = ".hashcli"  # an index of this name is found from the folder it is in and from all below
DEFAULT_NAME = "default"
_NAME = re.compile(r"\w[\w.-]{0,63}")

_chosen: Path | None = None  # the index of this run, where an option, the environment or the config file chose it


def index_folder(index: Path | None, name: str | None = None) -> Path:
    """The index to use: the given folder or name; else the one beside the photos; else the one in the data folder."""
    global _chosen
    if index is not None and name is not None:
        stop_with("--index and --name both choose an index: give one of them.", status=2)
    if name is not None:
        folder = _named(name)
    elif index is not None:
        if not index.name:
            stop_with("--index needs the name of a folder.", status=2)
        folder = index.expanduser()
    else:
        folder = _beside_photos() or _named(DEFAULT_NAME)
    folder = Path(os.path.realpath(folder))
    _chosen = None if index is None and name is None else folder
    detail(f"index: {folder}")
    return folder


def all_indexes() -> dict[str, Path]:
    """The indexes that --name can choose, by name: the default one first, if there is one."""
    folders = [_named(DEFAULT_NAME)]
    if (named := _data_folder() / "indexes").is_dir():
        folders += sorted(named.iterdir())
    names = [DEFAULT_NAME, *(folder.name for folder in folders[1:])]
    return {name: folder for name, folder in zip(names, folders, strict=True) if is_index(folder)}


def is_index(folder: Path) -> bool:
    """Whether an index is there; it may be damaged."""
    return os.path.isfile(folder / "catalog.sqlite")  # False, too, where we may not look


def index_command() -> str:
    """The command that refreshes the index of this run, as it must be typed here."""
    if _chosen is None:  # it was found, and will be again
        return "hashcli index"
    if _chosen == Path(os.path.realpath(_named(DEFAULT_NAME))):
        return f"hashcli index --name {DEFAULT_NAME}"
    if _chosen.parent == Path(os.path.realpath(_data_folder() / "indexes")):
        return f"hashcli index --name {_chosen.name}"
    return f"hashcli index --index {shlex.quote(str(_chosen))}"


def _named(name: str) -> Path:
    if not _NAME.fullmatch(name):
        stop_with(
            f"{name!r} cannot be the name of an index.",
            "A name begins with a letter or digit; letters, digits, - . and _ follow, 64 in all at most.",
            status=2,
        )
    return _data_folder() / "index" if name == DEFAULT_NAME else _data_folder() / "indexes" / name


def _data_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("hashcli")


def _beside_photos() -> Path | None:
    """The index in the working directory or in the nearest folder above that has one, as git finds its own."""
    here = Path.cwd()
    for folder in (parent / BESIDE_PHOTOS for parent in (here, *here.parents)):
        if not is_index(folder):
            continue
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():  # somebody could have put it in our way
            stop_with(
                f"The index in {folder} belongs to another user.",
                f"To use it all the same: --index {shlex.quote(str(folder))}",
            )
        return folder
    return None


class Talk:
    """How much is said on stderr, and where it is kept besides. Set once, from the options that all commands have."""

    quiet = False
    verbose = False
    debug = False
    log: Path | None = None  # absolute
    progress: "Progress | None" = None


def stop_with(problem: str, remedy: str = "", status: int = 1) -> NoReturn:
    """Say on stderr what is wrong and what to do, and exit."""
    _talk("ERROR", f"hashcli: {problem}")
    if remedy:
        _talk("ERROR", remedy)
    sys.exit(status)


def say(message: str) -> None:
    """Talk, on stderr; not with --quiet."""
    _talk("INFO", message)


def detail(message: str) -> None:
    """What only --verbose shows and --log keeps."""
    _talk("DEBUG", message)


def _talk(level: str, message: str) -> None:
    shown = level == "ERROR" or (Talk.verbose if level == "DEBUG" else not Talk.quiet)
    if not shown and Talk.log is None:
        return
    for line in message.split("\n"):
        with suppress(OSError):  # that nobody listens is no reason to stop
            if shown and Talk.progress:  # above the bar
                Talk.progress.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
            elif shown:
                print(printable(line), file=sys.stderr)
        if Talk.log:
            from datetime import datetime

            now = datetime.now().astimezone().isoformat(sep=" ", timespec="milliseconds")
            keep_in_log(f"{now} {level} {printable(line)}\n")


def keep_in_log(text: str) -> None:
    """Append to the log, where there is one. One that has gone away stops nothing."""
    if Talk.log:
        with suppress(OSError), Talk.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


def write_json(row: dict[str, Any]) -> None:
    """One JSON object as a line on stdout, in ASCII whatever the names in it."""
    print(json.dumps(row))


def write_paths(paths: Iterable[str], end: str) -> None:
    """Paths alone on stdout, each exactly as the file system has it, followed by `end`."""
    sys.stdout.flush()
    for path in paths:
        sys.stdout.buffer.write(os.fsencode(path) + end.encode())
    sys.stdout.buffer.flush()


def from_here(path: str) -> str:
    """A path as seen from the working directory, where that is shorter."""
    return min(os.path.relpath(path), path, key=len)


def with_stdin(paths: Iterable[str]) -> Iterator[str]:
    """The paths, with `-` standing for those on stdin, one a line or each ended by a zero byte."""
    for path in paths:
        if not path:
            stop_with("An empty path was given.", "Is a variable unset? Give . for the folder you are in.", status=2)
        if path != "-":
            yield path
            continue
        listed = sys.stdin.buffer.read()
        separator = b"\0" if b"\0" in listed else b"\n"
        yield from (os.fsdecode(line) for line in listed.split(separator) if line.strip())


def read_lines(source: str) -> list[str]:
    """The lines of a UTF-8 file, or of stdin for `-`."""
    try:
        whole = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        lines = whole.decode("utf-8-sig").split("\n")
        return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
    except OSError as error:
        stop_with(
            f"{'stdin' if source == '-' else source} cannot be read: {reason_of(error)}.{did_you_mean_path(source)}"
        )
    except UnicodeDecodeError as error:
        stop_with(f"{source} is not UTF-8: {error.reason} at byte {error.start}.", "Convert it with iconv.")


class ProgressReporter(UpdateCallback):
    """Progress on stderr while it is a terminal; what is skipped is named in any case."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._suggestions = _SUGGESTIONS
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "ProgressReporter":
        if sys.stderr.isatty() and not Talk.quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task("Looking", total=None, rate="")
            self._progress.start()
            Talk.progress = self._progress
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()
            Talk.progress = None

    def scanned(self, count: int) -> None:
        if self._progress and self._task is not None:
            self._progress.update(self._task, completed=count)

    def planned(self, count: int) -> None:
        if self._progress and self._task is not None:
            self._progress.reset(self._task, description=self._doing, total=count, rate="")

    def advanced(self, count: int) -> None:
        if self._progress and self._task is not None:
            self._progress.advance(self._task, count)
            speed = self._progress.tasks[0].speed
            self._progress.update(self._task, rate=f"{speed:.0f}/s" if speed else "")

    def skipped(self, path: str, reason: str) -> None:
        if reason.startswith("no such file") and self._suggestions:
            self._suggestions -= 1
            reason += did_you_mean_path(path).replace(" Did", "; did", 1)
        say(f"skipped {path}: {reason}")
