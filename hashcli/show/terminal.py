"""The terminal that a person sits at, also where stdin and stdout are pipes."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from threading import Lock

from hashcli.errors import HashcliError


class _WholeWrites(TextIOWrapper):
    """Text that several threads write: each piece arrives as a whole, for an escape sequence must not be torn apart."""

    def __init__(self, file: FileIO) -> None:
        super().__init__(BufferedWriter(file), encoding="utf-8", errors="backslashreplace")
        self._lock = Lock()

    def write(self, text: str) -> int:
        with self._lock:
            written = super().write(text)
            super().flush()
        return written

    def flush(self) -> None:
        pass  # nothing is left to be written


@contextmanager
def whole_terminal() -> Iterator[None]:
    """Let a program that draws on the whole terminal have it, whatever stdin, stdout and stderr are.

    Within, `sys.__stdin__`, `sys.__stdout__` and `sys.__stderr__` are the terminal, which is where Textual and
    textual-image read and write. The system's own three streams lead nowhere: what libraries in C and programs that
    are started write there would spoil the screen, or be taken for our output.

    Raises HashcliError where there is no terminal, or one that cannot draw.
    """
    term = os.environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        raise HashcliError(
            f"The grid needs a terminal that can draw, and TERM is {term!r}.",
            "Set TERM to the kind of your terminal, such as xterm-256color.",
        )
    with ExitStack() as stack:
        try:
            keys = stack.enter_context(open("/dev/tty", encoding="utf-8", errors="replace"))
            screen = stack.enter_context(_WholeWrites(FileIO("/dev/tty", "w")))
        except OSError as error:
            raise HashcliError(
                "The grid needs a terminal, and there is none.", "Start it in a terminal; elsewhere, print paths."
            ) from error
        stack.enter_context(_muted())
        before = sys.__stdin__, sys.__stdout__, sys.__stderr__
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = keys, screen, screen  # type: ignore[misc]
        try:
            yield
        finally:
            sys.__stdin__, sys.__stdout__, sys.__stderr__ = before  # type: ignore[misc]


@contextmanager
def _muted() -> Iterator[None]:
    """Let the file descriptors of stdin, stdout and stderr lead nowhere, for this process and those it starts."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in range(3)]
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        for number in range(3):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in enumerate(kept):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
