"""One allowance of memory for all the images that are being decoded at the same time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Condition

_SHARE = 8  # one part in so many of the memory is for decoding
_LEAST = 256 << 20
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class MemoryBudget:
    """So many bytes, shared by threads. One that needs more than there are gets them when nobody else has any."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._used = 0
        self._changed = Condition()

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free, and hold them. Must not be entered again by a thread that is within it."""
        size = min(size, self.size)
        with self._changed:
            self._changed.wait_for(lambda: self._used + size <= self.size)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


@cache
def machine_memory() -> int:
    """The bytes that this process may use: of the machine, or of the container if that has a limit."""
    try:
        sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, OSError, ValueError):  # not on Windows
        sizes = [8 << 30]
    for path in _CGROUP_LIMITS:
        try:
            sizes.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(size for size in sizes if size > 0)


@cache
def decoding_budget() -> MemoryBudget:
    """The one budget of this process."""
    return MemoryBudget(max(_LEAST, machine_memory() // _SHARE))
