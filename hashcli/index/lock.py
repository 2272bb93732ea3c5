"""The lock by which an index has one writer at a time. Readers need none."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashcli.errors import HashcliError
from hashcli.index.catalog_file import UnusableIndexFolderError
from hashcli.plain_files import check_plain

LOCK_FILE = "lock"


class IndexBusyError(HashcliError):
    """Another process is writing the index in `index_folder`."""

    def __init__(self, index_folder: Path) -> None:
        super().__init__(
            f"Another hashcli is writing the index in {index_folder}.", "Wait until it has finished, then try again."
        )
        self.index_folder = index_folder


@contextmanager
def writer_lock(index_folder: Path) -> Iterator[None]:
    """Be the one writer of an index, whose folder is made if need be.

    Raises IndexBusyError at once if there is another writer, and UnusableIndexFolderError if the lock cannot be made.
    """
    from filelock import FileLock, Timeout

    try:
        index_folder.mkdir(parents=True, exist_ok=True)
        _check_is_empty(index_folder / LOCK_FILE)
        lock = FileLock(index_folder / LOCK_FILE, timeout=0)
        lock.acquire()
    except Timeout:
        raise IndexBusyError(index_folder) from None
    except OSError as error:
        at = f"{error.filename}: " if error.filename not in (None, str(index_folder)) else ""
        raise UnusableIndexFolderError(
            index_folder, f"The index in {index_folder} cannot be written: {at}{error.strerror}."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _check_is_empty(lock: Path) -> None:
    """Raise OSError if a stranger has put a link or something else in the place of the lock, which locking empties."""
    with suppress(FileNotFoundError):
        state = os.lstat(lock)
        check_plain(lock, state)
        if state.st_size:
            raise OSError(errno.EINVAL, f"{lock} is not a lock", str(lock))
