"""Paths as an index knows them."""

import os
from collections.abc import Iterable

from hashcli.file_names import as_on_disk


def canonical(path: str) -> str:
    """The absolute path under which an index knows a file or folder.

    Links are resolved, except that a link to a file keeps its own name. A name has the Unicode form that it has on
    disk.
    """
    path = as_on_disk(path)
    if "\0" in path:  # no path at all, which is said when it is looked at
        return os.path.abspath(path)
    if not os.path.isfile(path):
        return os.path.realpath(path)
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def is_within(path: str, folder: str) -> bool:
    """Whether a path is the folder itself or below it. Both are absolute."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def is_within_any(path: str, folders: Iterable[str]) -> bool:
    return any(is_within(path, folder) for folder in folders)
