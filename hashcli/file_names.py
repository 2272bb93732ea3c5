"""File names in the form in which a disk has them.

A letter with an accent can be one character (NFC), as most keyboards type it, or a letter and an accent (NFD), as
some systems write it into file names. Both look the same, and to most file systems they are different names.
"""

import os
import unicodedata
from collections.abc import Callable, Mapping


def composed(name: str) -> str:
    """A name in the form NFC."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def composed_names(folder: str) -> dict[str, str]:
    """The names in a folder that are not in NFC, by what they are in NFC; none if it cannot be read."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {composed(name): name for name in names if composed(name) != name}


def as_on_disk(path: str, names_in: Callable[[str], Mapping[str, str]] = composed_names) -> str:
    """The path of what is there under a name that differs in its Unicode form alone. The same path if it is there as
    it is, or if nothing is. A caller with many paths can pass a cached `composed_names`."""
    if path.isascii() or os.path.lexists(path):
        return path
    found, *parts = _parts(path)
    for part in parts:
        inner = os.path.join(found, part)
        if not os.path.lexists(inner):
            inner = os.path.join(found, composed(part))
        if not os.path.lexists(inner):
            other = names_in(found or ".").get(composed(part))
            if other is None:
                return path
            inner = os.path.join(found, other)
        found = inner
    return found


def _parts(path: str) -> list[str]:
    """The root, or "" for a relative path, and the names below it."""
    parts = path.split(os.sep)
    return [parts[0] + os.sep, *filter(None, parts[1:])] if os.path.isabs(path) else ["", *filter(None, parts)]
