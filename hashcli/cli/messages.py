"""Where messages go: to stderr, and into a log file.

This module is imported with the first message, so that `--help`, which has none, does not have to import `logging`.
"""

import logging
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hashcli.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress


class StderrHandler(logging.Handler):
    """Prints messages, above the progress bar if there is one. A closed stderr does not stop the program."""

    progress: "Progress | None" = None

    def shows_messages(self) -> bool:
        """Whether it shows more than errors."""
        return self.level < logging.ERROR

    def emit(self, record: logging.LogRecord) -> None:
        for line in record.getMessage().split("\n"):
            with suppress(OSError):
                if self.progress:
                    self.progress.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
                else:
                    print(printable(line), file=sys.stderr)


class LogFileHandler(logging.Handler):
    """Each line with the time, in a file opened anew for it. A log that cannot be written does not stop the program."""

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


logger = logging.getLogger("hashcli")
logger.setLevel(logging.DEBUG)
logger.propagate = False
stderr = StderrHandler(logging.INFO)
logger.addHandler(stderr)


def set_up(*, quiet: bool, verbose: bool, log: Path | None) -> None:
    """Choose what is shown: only errors, or details too. The log file gets everything in any case."""
    stderr.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    if log:
        logger.addHandler(LogFileHandler(log))
