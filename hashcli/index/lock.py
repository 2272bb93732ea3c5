"""The lock by which an index has one writer at a time. Readers need none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashcli.errors import HashcliError
from hashcli.index.catalog_file import UnusableIndexFolderError

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
        lock = FileLock(index_folder / LOCK_FILE, timeout=0)
        lock.acquire()
    except Timeout:
        raise IndexBusyError(index_folder) from None
    except OSError as error:
        raise UnusableIndexFolderError(
            index_folder, f"The index in {index_folder} cannot be written: {error.strerror}."
        ) from error
    try:
        yield
    finally:
        lock.release()
