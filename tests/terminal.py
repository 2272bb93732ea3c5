"""The real command in a pseudo-terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

_ESCAPES = re.compile(r"\x1b\][^\x1b]*\x1b\\|\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(arguments: Sequence[object], cwd: Path, environment: Mapping[str, str], columns: int = 80) -> str:
    """What `hashcli` with these arguments writes to a terminal of so many columns, one with colours unless the
    environment has another TERM. Its messages are left out."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {"TERM": "xterm-256color"} | {name: value for name, value in environment.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "hashcli", *map(str, arguments)],
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
