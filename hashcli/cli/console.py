"""The output of a command: messages on stderr, rows on stdout, and a progress bar."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from hashcli.errors import HashcliError, did_you_mean_path
from hashcli.index.update_callback import UpdateCallback
from hashcli.json_rows import json_line
from hashcli.printable import printable

if TYPE_CHECKING:
    import logging

    from rich.progress import Progress, TaskID

SKIPPED = 3  # exit status: done, but some inputs were skipped
_NAMES = 13  # columns for the names of facts
_SUGGESTIONS = 5  # finding them takes a while, and a long list of missing files is not a typing error


class UsageError(HashcliError):
    """The command was used wrongly: exit status 2."""


def say(message: str) -> None:
    """Print a message on stderr, except with --quiet."""
    _logger().info(message)


def detail(message: str) -> None:
    """Print a message only with --verbose, and to the log."""
    _logger().debug(message)


def stop_with(problem: str, remedy: str = "", status: int = 1) -> NoReturn:
    """Print on stderr what is wrong and what to do about it, and exit."""
    _logger().error(f"hashcli: {problem}")
    if remedy:
        _logger().error(remedy)
    sys.exit(status)


def log_traceback() -> None:
    """Print the traceback of the error being handled, only with --verbose and to the log."""
    _logger().debug("The error came from here:", exc_info=sys.exc_info())


def _logger() -> "logging.Logger":
    from hashcli.cli.messages import logger

    return logger


# --- stdout ---


def write_json(row: dict[str, Any]) -> None:
    """One JSON object as a line on stdout."""
    print(json_line(row))


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

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout).print(table)


def print_facts(facts: Mapping[str, str | Sequence[str]]) -> None:
    """Names and what there is to say of each, for people; a list has a line for each entry. On a terminal, long lines
    are folded between words."""
    width = max(40, shutil.get_terminal_size().columns - _NAMES) if sys.stdout.isatty() else sys.maxsize
    for name, value in facts.items():
        entries = [value] if isinstance(value, str) else value
        lines = (line for entry in entries for line in _folded(printable(entry), width))
        for number, line in enumerate(lines):
            print(f"{'' if number else name:<{_NAMES}}{line}")


def _folded(text: str, width: int) -> list[str]:
    if len(text) <= width or os.path.isabs(text):  # a path is to be copied as it is
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def from_here(path: str) -> str:
    """A path as seen from the working directory, where that is shorter."""
    return min(os.path.relpath(path), path, key=len)


# --- progress ---


class ProgressBar(UpdateCallback):
    """Progress on stderr if that is a terminal; skipped inputs are always named."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._suggestions = _SUGGESTIONS
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "ProgressBar":
        from hashcli.cli.messages import stderr

        if sys.stderr.isatty() and stderr.shows_messages():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.table import Column

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None, table_column=Column(min_width=4, max_width=40)),  # gives way to the rest
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task("Looking", total=None, note="")
            self._progress.start()
            stderr.progress = self._progress
        return self

    def __exit__(self, *_: object) -> None:
        from hashcli.cli.messages import stderr

        if self._progress:
            self._progress.stop()
            stderr.progress = None

    def migrating(self, version: int) -> None:
        say(
            "This index was made by an earlier hashcli. It is migrated: photos are read once more, for what it did not "
            "look for in them, and nothing is encoded again."
        )

    def dropped_damaged(self, count: int) -> None:
        entries = "1 damaged entry" if count == 1 else f"{count} damaged entries"
        say(f"{entries} of the index dropped: the disk may be failing. The files are read again.")

    def scanned(self, count: int) -> None:
        if self._progress and self._task is not None:
            self._progress.update(self._task, completed=count)

    def left_out(self, count: int) -> None:
        say(f"{count} files are left out from now on, and leave the index.")

    def planned(self, count: int) -> None:
        if self._progress and self._task is not None:
            self._progress.reset(self._task, description=self._doing, total=count, note="")

    def reading_words(self, count: int) -> None:
        self.planned(count)
        if self._progress and self._task is not None:
            self._progress.update(self._task, description="Reading words")

    def advanced(self, count: int) -> None:
        if self._progress and self._task is not None:
            self._progress.advance(self._task, count)
            speed = self._progress.tasks[0].speed
            self.noted(f"{speed:.{1 if speed < 10 else 0}f}/s" if speed else "")

    def noted(self, note: str) -> None:
        """Show a note beside the bar."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, note=note)

    def text_left_out(self, path: str, text: str) -> None:
        detail(f"left out of the texts about {path}: {text}")

    def skipped(self, path: str, reason: str) -> None:
        if reason.startswith("no such file") and self._suggestions:
            self._suggestions -= 1
            reason += did_you_mean_path(path).replace(" Did", "; did", 1)
        say(f"skipped {path}: {reason}")

    def damaged(self, path: str, reason: str) -> None:
        say(f"damaged {path}: {reason}")
