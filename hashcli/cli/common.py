"""What the commands share: options, errors, progress, and how paths and rows are printed."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hashcli.printable import printable as printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from hashcli.datasets.pairs import Pairs

SKIPPED = 3  # exit status: done, but some inputs were skipped

_debug = False


def debug() -> bool:
    """Whether --debug was given."""
    return _debug


def _set_debug(wanted: bool) -> None:
    global _debug
    _debug = _debug or wanted


Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, is_eager=True, help="On an error, show where it came from.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
IndexFolder = Annotated[
    Path | None,
    typer.Option(
        "--index",
        readable=False,
        envvar="HASHCLI_INDEX",
        show_default="in your data folder",
        help="The index folder. Put beside the photos, it can move with them.",
    ),
]


Download = Annotated[
    bool, typer.Option("--download", help="First fetch into --root what the publisher offers freely; it can resume.")
]


def whole_numbers(option: str, given: str, example: str) -> tuple[int, ...]:
    """Numbers with commas between. Exits with 2 when they are not."""
    try:
        return tuple(int(number) for number in given.split(","))
    except ValueError:
        stop_with(f"{option} {given} is not a list of whole numbers.", f"For example: {option} {example}", status=2)


def open_dataset(name: str, root: Path | None, *, download: bool) -> "Pairs":
    """A dataset by name below `root`, or one's own by its path."""
    from hashcli.datasets.registry import load_dataset

    if download:
        from hashcli.datasets.download import download as fetch

        if root is None:
            stop_with("--download: where to?", "Give --root, the folder for the dataset's files.", status=2)
        with ProgressReporter("Downloading (MiB)") as reporter:
            fetch(name, root, reporter)
    return load_dataset(name, root)


def index_folder(given: Path | None) -> Path:
    """The index to use: the given one, else the one in the user's data folder."""
    if given is None:
        from platformdirs import user_data_path

        given = user_data_path("hashcli") / "index"
    elif not given.name:
        stop_with("--index needs the name of a folder.", status=2)
    return Path(os.path.realpath(given.expanduser()))


def index_command(folder: Path) -> str:
    """The command that refreshes this index, to be typed."""
    return "hashcli index" if folder == index_folder(None) else f"hashcli index --index {folder}"


def stop_with(problem: str, remedy: str = "", status: int = 1) -> NoReturn:
    """Say on stderr what is wrong and what to do, and exit."""
    say(f"hashcli: {problem}")
    if remedy:
        say(remedy)
    sys.exit(status)


def say(message: str) -> None:
    """Talk, on stderr."""
    for line in message.split("\n"):
        print(printable(line), file=sys.stderr)


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
        if sys.stdin is None:
            stop_with("- stands for a list on stdin, and stdin is closed.")
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
        stop_with(f"{source} cannot be read: {error.strerror}.")
    except UnicodeDecodeError as error:
        stop_with(f"{source} is not UTF-8: {error.reason} at byte {error.start}.", "Convert it with iconv.")


class ProgressReporter:
    """Progress on stderr while it is a terminal; what is skipped is named in any case."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "ProgressReporter":
        if sys.stderr.isatty():
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
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

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
        line = printable(f"skipped {path}: {reason}")
        if self._progress:
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            say(line)
