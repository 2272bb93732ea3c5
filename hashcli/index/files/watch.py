"""Waiting for changes on disk, so that an index can follow them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import sleep

from hashcli.errors import HashcliError, reason_of
from hashcli.hashmodel.images import photo_suffixes
from hashcli.index.files.paths import is_within
from hashcli.index.files.text_files import is_text_file

# In milliseconds. A burst has ended when nothing changes for so long: a card is copied file by file.
_QUIET = 500
_LONGEST_BURST = 10_000
_LOOK_AGAIN = 250


def check_installed() -> None:
    """Raise HashcliError when the extra is missing."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise HashcliError("Watching needs an extra.", "Install it: pip install 'hashcli[watch]'") from None


def bursts(paths: Sequence[str], index_folder: Path, *, hidden: bool) -> Iterator[None]:
    """Yield at once, and then after each burst of changes at or below the paths; what changes while the caller is at
    work is not missed. A path that is not there, or is another one than it was, is looked for again and again.

    What happens in the index folder, to files that are neither photos nor texts, and without `hidden` to hidden files
    and folders, is no change. Raises HashcliError where the system cannot watch so many folders.
    """
    from watchfiles import Change, watch
    from watchfiles._rust_notify import WatchfilesRustInternalError

    def concerns(_: Change, path: str) -> bool:
        if is_within(path, str(index_folder)):
            return False
        below = min((os.path.relpath(path, root) for root in paths if is_within(path, root)), key=len, default="")
        if not hidden and any(part.startswith(".") for part in below.split(os.sep) if part != "."):
            return False
        is_taken = is_text_file(path) or os.path.splitext(path)[1].lower() in photo_suffixes()
        return is_taken or not os.path.isfile(path)  # a folder, or what was one

    while True:
        watched = _there(paths)
        begun = False
        try:
            for changes in watch(
                *watched,
                watch_filter=concerns,
                debounce=_LONGEST_BURST,
                step=_QUIET,
                rust_timeout=_LOOK_AGAIN,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                if _there(paths) != watched:
                    break
                if changes or not begun:
                    begun = True
                    yield
        except FileNotFoundError:  # gone while we began
            sleep(_LOOK_AGAIN / 1000)
        except WatchfilesRustInternalError:  # it stops at a name that is not UTF-8: something changed, or was only read
            sleep(_QUIET / 1000)
            yield
        except OSError as error:
            raise HashcliError(
                f"The folders cannot be watched: {reason_of(error)}.",
                "There may be more of them than the system watches (fs.inotify.max_user_watches). "
                "Without --watch, run hashcli index from cron.",
            ) from error


def _there(paths: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The paths that exist, with what tells whether one has been replaced: a watcher would not notice."""
    states = {}
    for path in paths:
        try:
            state = os.stat(path)
        except OSError:
            continue
        states[path] = state.st_dev, state.st_ino
    return states
