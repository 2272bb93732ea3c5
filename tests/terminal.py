"""The real command in a pseudo-terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

HASHCLI = (sys.executable, "-m", "hashcli")
# On a busy machine the tests may answer later than hashcli waits for a terminal.
PATIENT_HASHCLI = (
    *(sys.executable, "-c"),
    "from hashcli.show import terminal; terminal._SECONDS = 60; from hashcli.__main__ import main; main()",
)
CELL = (10, 20)  # pixels
SECONDS = 60  # the longest wait for anything

_ESCAPES = re.compile(r"\x1b\][^\x1b]*\x1b\\|\x1b\[[0-9;?]*[A-Za-z]")
_GRAPHICS = re.compile(rb"\x1b_G([^\x1b]*)\x1b\\")  # Kitty's
_NOT_UNDERSTOOD = re.compile(rb"\x1b[_P][^\x1b]*\x1b\\|\x1b\[[<>=][\d;]*[a-z]")  # by pyte
_COMPLETE = re.compile(rb"\x1b(\[[\x20-\x3f]*[\x40-\x7e]|[^\[_P])")


def on_terminal(arguments: Sequence[object], cwd: Path, environment: Mapping[str, str], columns: int = 80) -> str:
    """What `hashcli` with these arguments writes to a terminal of so many columns, one with colours unless the
    environment has another TERM. Its messages are left out."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {"TERM": "xterm-256color"} | {name: value for name, value in environment.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [*HASHCLI, *map(str, arguments)],
        cwd=cwd,
        env=env,
        stdin=follower,
        stdout=follower,
        stderr=subprocess.DEVNULL,
    )
    os.close(follower)
    output = b""
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        try:
            while block := terminal.read(65536):
                output += block
        except OSError:  # the end, to a terminal
            pass
    assert process.wait() == 0, output
    return output.decode().replace("\r\n", "\n")


def shown_in_terminal(arguments: Sequence[object], cwd: Path, environment: Mapping[str, str], columns: int = 80) -> str:
    """The same without colours and links."""
    return _ESCAPES.sub("", on_terminal(arguments, cwd, environment, columns))


class Screen:
    """A terminal in which the real command runs and a person presses keys: it is the command's controlling terminal,
    keeps what stands on its screen, answers queries by `answers`, and takes Kitty's graphics commands."""

    def __init__(
        self,
        arguments: Sequence[object],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        size: tuple[int, int] = (80, 24),
        answers: Mapping[bytes, bytes] | None = None,
        delay: float = 0,
        stdin: bytes | None = None,
        is_piped: bool = True,
        program: Sequence[str] = (),
    ) -> None:
        """A terminal of `size` columns and lines, which answers after `delay` seconds. `stdin` is what stdin holds, if
        it is not the terminal; stdout is a pipe if `is_piped`. `program` takes the place of hashcli."""
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._answers, self._delay = answers or {}, delay
        self._unread = self._asked = b""
        self.received = bytearray()
        self.graphics: list[bytes] = []
        self._leader, follower = pty.openpty()
        self._set_size(*size)
        env = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        env |= environment
        self._process = subprocess.Popen(
            [*(program or (PATIENT_HASHCLI if answers else HASHCLI)), *map(str, arguments)],
            cwd=cwd,
            env=env,
            stdin=follower if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE if is_piped else follower,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(follower, termios.TIOCSCTTY, 0),
        )
        os.close(follower)
        if stdin is not None and self._process.stdin:
            self._process.stdin.write(stdin)
            self._process.stdin.close()

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        os.close(self._leader)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without blanks at the ends of lines."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def cells(self) -> list[list[pyte.screens.Char]]:
        """Each cell of the screen, with its colours."""
        return [[self._screen.buffer[y][x] for x in range(self._screen.columns)] for y in range(self._screen.lines)]

    def press(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def paste(self, text: str) -> None:
        """All of it arrives at once, so that nothing is searched for before its end, however slow the machine is."""
        self.press(f"\x1b[200~{text}\x1b[201~")

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        self._set_size(columns, lines)
        os.killpg(self._process.pid, signal.SIGWINCH)

    def wait_for(self, condition: Callable[[], bool] | str) -> None:
        """Wait until something stands on the screen, or a condition holds."""
        end = time.monotonic() + SECONDS
        while not (condition in self.text if isinstance(condition, str) else condition()):
            assert time.monotonic() < end, f"not on the screen after {SECONDS} s: {condition}\n{self.text}"
            assert self._read(0.1) or self._process.poll() is None, self.leave()

    def settle(self, seconds: float = 0.7) -> None:
        """Wait until nothing has been drawn for so long, before something that is not to happen. On a busy machine
        more may come: wait for what is to come."""
        while self._read(seconds):
            pass

    def leave(self, keys: str = "") -> tuple[int, bytes, str]:
        """Press keys, wait for the end, and return the exit status, and what was written to stdout and stderr."""
        if keys:
            self.press(keys)
        end = time.monotonic() + SECONDS
        while self._process.poll() is None:
            assert time.monotonic() < end, f"not left after {SECONDS} s\n{self.text}"
            self._read(0.1)
        while self._read(0):
            pass
        output = self._process.stdout.read() if self._process.stdout else b""
        errors = self._process.stderr.read().decode() if self._process.stderr else ""
        return self._process.returncode, output, errors

    def is_restored(self) -> bool:
        """Whether the terminal is as it was: its own screen, a cursor, and keys that are echoed."""
        last = dict(re.findall(rb"\x1b\[\?(\d+)([hl])", self.received))
        modes = termios.tcgetattr(self._leader)[3]
        return last[b"1049"] == b"l" and last[b"25"] == b"h" and bool(modes & termios.ECHO and modes & termios.ICANON)

    def _set_size(self, columns: int, lines: int) -> None:
        size = struct.pack("HHHH", lines, columns, columns * CELL[0], lines * CELL[1])
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, size)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._leader], [], [], seconds)[0]:
            return False
        try:
            some = os.read(self._leader, 1 << 16)
        except OSError:  # the other side is closed
            return False
        self.received += some
        self._asked += some
        while heard := [question for question in self._answers if question in self._asked]:
            first = min(heard, key=self._asked.index)
            time.sleep(self._delay)
            os.write(self._leader, self._answers[first])
            self._asked = self._asked.partition(first)[2]
        self._asked = self._asked[-100:]  # the rest has been looked through
        self._show(some)
        return True

    def _show(self, some: bytes) -> None:
        """Give to the screen what it understands; the start of an escape sequence is kept until its end is there."""
        self.graphics += _GRAPHICS.findall(self._unread + some)
        content = _NOT_UNDERSTOOD.sub(b"", self._unread + some)
        start = max(content.rfind(b"\x1b_"), content.rfind(b"\x1bP"))
        if start < 0:
            start = content.rfind(b"\x1b")
            if start >= 0 and _COMPLETE.match(content[start:]):
                start = -1
        self._unread = content[start:] if start >= 0 else b""
        self._stream.feed(content[:start] if start >= 0 else content)
