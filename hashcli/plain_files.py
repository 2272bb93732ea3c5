"""Files that may come from a stranger: only plain ones are read, and none is ever written through a link."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO


def open_plain(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file to read its bytes. Raises OSError for anything but a plain file: a pipe or a device may never end."""
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115
    try:
        check_plain(path, os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting for someone at the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_plain(path: str | os.PathLike[str], state: os.stat_result | None = None) -> None:
    """Raise OSError if the path, or what it links to, is not a plain file."""
    mode = (state or os.stat(path)).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a plain file", os.fspath(path))


def read_plain(path: str | os.PathLike[str], most: int = 64 << 20) -> bytes:
    """The bytes of a plain file. Raises OSError, also for a file of more than `most` bytes."""
    with open_plain(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
    return content


def create_plain(path: Path) -> BinaryIO:
    """Create a file to write and read its bytes; one that a killed process left under this name is removed first.

    A link of this name is removed too, rather than written through.
    """
    path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "w+b")


def state_of(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """What changes whenever a file is written: its inode, size and time; None if it is not there."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


def size_of_files(folder: Path) -> int:
    """The bytes of the files in a folder. Those that go away meanwhile do not count."""
    states = (state_of(path) for path in folder.iterdir() if path.is_file())
    return sum(state[1] for state in states if state)
