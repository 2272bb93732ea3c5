"""What a command says: messages on stderr and in the log file, rows on stdout, progress while it works."""

import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hashcli.errors import HashcliError, did_you_mean_path
from hashcli.index.summary import UpdateCallback
from hashcli.printable import printable as printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SKIPPED = 3  # exit status: done, but some inputs were skipped
_SUGGESTIONS = 5  # looking for what was meant takes a while, and a long list of what is gone is no typing error

_logger = logging.getLogger("hashcli")
_logger.setLevel(logging.DEBUG)
_logger.propagate = False


class UsageError(HashcliError):
    """The command was given something that it does not take: exit status 2."""


class _Stderr(logging.Handler):
    """Messages for people; above the progress bar while there is one. A closed stderr is no reason to stop."""

    progress: "Progress | None" = None

    def emit(self, record: logging.LogRecord) -> None:
        for line in record.getMessage().split("\n"):
            with suppress(OSError):
                if self.progress:
                    self.progress.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
                else:
                    print(printable(line), file=sys.stderr)


class _LogFile(logging.Handler):
    """Each line with the time, in a file that is opened for it. A log that has gone away stops nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="milliseconds")
        lines = record.getMessage().split("\n")
        with suppress(OSError), self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(f"{now} {record.levelname} {printable(line)}\n" for line in lines)
            if record.exc_info:
                file.write(f"{logging.Formatter().formatException(record.exc_info)}\n")


_stderr = _Stderr(logging.INFO)
_logger.addHandler(_stderr)


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """Show errors alone, or details too."""
    _stderr.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)


def log_to(path: Path) -> None:
    """Keep all messages in a file too, and details, whatever is shown."""
    _logger.addHandler(_LogFile(path))


def say(message: str) -> None:
    """A message on stderr; not with --quiet."""
    _logger.info(message)


def detail(message: str) -> None:
    """What only --verbose shows and --log keeps."""
    _logger.debug(message)


def stop_with(problem: str, remedy: str = "", status: int = 1) -> NoReturn:
    """Say on stderr what is wrong and what to do, and exit."""
    _logger.error(f"hashcli: {problem}")
    if remedy:
        _logger.error(remedy)
    sys.exit(status)


def log_traceback() -> None:
    """Keep in the log, where there is one, where the error that is being handled came from."""
    _logger.debug("traceback", exc_info=sys.exc_info())


# --- stdout ---


def write_json(row: dict[str, Any]) -> None:
    """One JSON object as a line on stdout, in ASCII whatever the names in it."""
    print(json.dumps(row))


def write_paths(paths: Iterable[str], end: str) -> None:
    """Paths alone on stdout, each exactly as the file system has it, followed by `end`."""
    sys.stdout.flush()
    for path in paths:
        sys.stdout.buffer.write(os.fsencode(path) + end.encode())
    sys.stdout.buffer.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as wide as the terminal, for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout).print(table)


def from_here(path: str) -> str:
    """A path as seen from the working directory, where that is shorter."""
    return min(os.path.relpath(path), path, key=len)


# --- progress ---


class ProgressBar(UpdateCallback):
    """Progress on stderr while it is a terminal; what is skipped is named in any case."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._suggestions = _SUGGESTIONS
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "ProgressBar":
        if sys.stderr.isatty() and _stderr.level < logging.ERROR:
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
            _stderr.progress = self._progress
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()
            _stderr.progress = None

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
