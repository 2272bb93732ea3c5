"""Waiting for changes on disk, so that an index can follow them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import sleep

from hashcli.errors import HashcliError, how_to_install, reason_of
from hashcli.index.files.exclusion import IGNORE_FILE
from hashcli.index.files.metadata_files import may_be_metadata
from hashcli.index.files.paths import is_within
from hashcli.index.files.scan import is_photo
from hashcli.index.files.text_files import is_text_file

# In milliseconds. Changes come in bursts, as when a memory card is copied file by file. A burst has ended when nothing
# more changes for _QUIET, or at the latest after _LONGEST_BURST.
_QUIET = 500
_LONGEST_BURST = 10_000
_CHECK_PATHS = 250


class CannotWatchError(HashcliError):
    """The system cannot watch the folders."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"The folders cannot be watched: {reason_of(error)}.",
            "There may be more folders than the system can watch (fs.inotify.max_user_watches). Raise that limit, or "
            "update the index at intervals.",
        )


def check_installed() -> None:
    """Raise HashcliError if the extra is missing."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise HashcliError("Watching needs an extra.", how_to_install("watch")) from None


def wait_for_changes(paths: Sequence[str], index_folder: Path, *, hidden: bool) -> Iterator[None]:
    """Yield at once, and then after each burst of changes at or below the paths, without end.

    Changes made while the caller is at work are not missed. A path that is not there, or has been replaced, is looked
    for again and again. Changes that an update would not take up do not count: in the index folder, of other files than
    photos and texts, and without `hidden` of hidden files and folders.

    Raises CannotWatchError if there are more folders than the system can watch.
    """
    from watchfiles import Change, watch
    from watchfiles._rust_notify import WatchfilesRustInternalError

    def is_relevant(_: Change, path: str) -> bool:
        return concerns_index(path, paths, index_folder, hidden=hidden)

    while True:
        watched = _states(paths)
        has_yielded = False
        try:
            for changes in watch(
                *watched,
                watch_filter=is_relevant,
                debounce=_LONGEST_BURST,
                step=_QUIET,
                rust_timeout=_CHECK_PATHS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                if _states(paths) != watched:
                    break
                if changes or not has_yielded:
                    has_yielded = True
                    yield
        except FileNotFoundError:  # it went away before it was watched
            sleep(_CHECK_PATHS / 1000)
        except WatchfilesRustInternalError:  # raised for a name that is not UTF-8: that file changed, or was only read
            sleep(_QUIET / 1000)
            yield
        except OSError as error:
            raise CannotWatchError(error) from error


def concerns_index(path: str, watched: Sequence[str], index_folder: Path, *, hidden: bool) -> bool:
    """Whether a change of `path` can change an index of the watched paths. All paths are absolute."""
    if is_within(path, str(index_folder)):
        return False
    if os.path.basename(path) == IGNORE_FILE:
        return True
    below = min((os.path.relpath(path, root) for root in watched if is_within(path, root)), key=len, default="")
    if not hidden and any(part.startswith(".") for part in below.split(os.sep) if part != "."):
        return False
    may_be_indexed = is_photo(path) or is_text_file(path) or may_be_metadata(path)
    return may_be_indexed or not os.path.isfile(path)  # else it is a folder, or was one


def _states(paths: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The device and inode of each path that exists, which show that it has been replaced: a watcher would not."""
    states = {}
    for path in paths:
        try:
            state = os.stat(path)
        except OSError:
            continue
        states[path] = state.st_dev, state.st_ino
    return states
