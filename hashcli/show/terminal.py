"""The terminal that a person sits at, also where stdin and stdout are pipes."""

import os
import re
import select
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from io import BufferedWriter, FileIO, TextIOWrapper
from threading import Lock
from typing import Literal

from hashcli.errors import HashcliError

# Whether it knows Kitty's graphics, the size of a cell in pixels, and last what every terminal answers: what it is.
_QUESTIONS = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c"
_SECONDS = 2  # for the answers: a connection by satellite takes one
_FINE = 20  # pixels
_KITTY = frozenset({"xterm-kitty", "xterm-ghostty"})  # in TERM


@cache
def graphics() -> Literal["sixel", "kitty"] | None:
    """How the terminal can draw pictures, by what it answers through `sys.__stdin__` and `sys.__stdout__`; None if it
    cannot, or cannot be asked. Sixel comes first, as some that know Kitty's protocol lack the part that we need.

    All answers are waited for, as one that came later would be taken for keys. textual-image waits for 0.1 seconds
    before its version 0.14, which is too short over SSH.
    """
    if os.environ.get("TERM") in _KITTY:
        return "kitty"
    answers = _answers()
    if (size := re.search(rb"\x1b\[6;(\d+);(\d+)t", answers)) and int(size[1]) and int(size[2]):
        # Where textual-image looks for it if the system does not know it.
        os.environ["TEXTUAL_CELL_HEIGHT"], os.environ["TEXTUAL_CELL_WIDTH"] = size[1].decode(), size[2].decode()
    if re.search(rb"\x1b\[\?(?:\d+;)*4(?:;\d+)*c", answers):
        return "sixel"
    return "kitty" if re.search(rb"\x1b_G[^\x1b]*;OK\x1b", answers) else None


def cell_width() -> int:
    """The width of a cell of the terminal at `sys.__stdout__` in pixels; as on a fine screen if it does not say."""
    import fcntl
    import termios

    screen = sys.__stdout__
    try:
        size = fcntl.ioctl(screen, termios.TIOCGWINSZ, bytes(8)) if screen else bytes(8)
    except OSError:
        size = bytes(8)
    _, columns, width, _ = struct.unpack("HHHH", size)
    return width // max(columns, 1) or int(os.environ.get("TEXTUAL_CELL_WIDTH", _FINE))


def _answers() -> bytes:
    keys, screen = sys.__stdin__, sys.__stdout__
    if keys is None or screen is None or not (keys.isatty() and screen.isatty()):
        return b""
    import termios
    import tty

    modes = termios.tcgetattr(keys)
    end = time.monotonic() + _SECONDS
    answers = b""
    try:
        tty.setcbreak(keys, termios.TCSANOW)
        screen.write(_QUESTIONS)
        screen.flush()
        while not re.search(rb"\x1b\[\?[\d;]*c", answers):
            if not select.select([keys], [], [], max(0, end - time.monotonic()))[0]:
                break
            answers += os.read(keys.fileno(), 1)  # one at a time, for keys may follow
    finally:
        termios.tcsetattr(keys, termios.TCSANOW, modes)
    return answers


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
                "The grid needs a terminal, and there is none.",
                "Over SSH, ssh -t gives you one. In a script, print paths.",
            ) from error
        sizes = {name: os.environ.pop(name) for name in ("COLUMNS", "LINES") if name in os.environ}
        stack.callback(os.environ.update, sizes)  # Textual would believe them, and not see the terminal resized
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
