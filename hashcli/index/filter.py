"""Which items of an index may be answers: where they lie, of which file type, and from when."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from unicodedata import normalize

from hashcli.errors import HashcliError
from hashcli.index.catalog import FilterFields
from hashcli.index.files.paths import canonical, is_within

_SAME_TYPE = (frozenset({"jpg", "jpeg"}), frozenset({"tif", "tiff"}), frozenset({"heif", "heic"}))


@dataclass(frozen=True)
class Filter:
    """Which items may be answers: those in one of the folders, of one of the file types, and within these dates.

    No folders, or no types, set no bound. `types` are file name endings such as "jpg", which stands for "jpeg" too.
    `after` and `before` are a date, or a text such as 2023, 2023-05, 2023-05-14 or 2023-05-14T18:30, in the local time
    where the photo was taken; `after` includes that moment, `before` does not. A photo that does not say when it was
    taken has the time at which its file was last changed. A text about a photo is judged by the photo.

        Filter(folders=["~/Pictures/family"], types=["jpg"], after="2023", before="2024-07")

    Raises HashcliError for an `after` or `before` that is not a day.
    """

    folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = ()
    types: str | Iterable[str] = ()
    after: str | int | date | None = None
    before: str | int | date | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folders", _all_of(self.folders))
        object.__setattr__(self, "types", _all_of(self.types))
        self.compiled()  # raises for a date that is wrong

    def compiled(self) -> "CompiledFilter":
        """The filter as it is applied to many items. Folders are looked up on disk, for links in their paths."""
        expanded = [os.path.expanduser(folder) for folder in _all_of(self.folders)]
        absolute = [path for folder in expanded for path in (canonical(folder), os.path.abspath(folder))]
        types = {name.lower().lstrip(".") for name in _all_of(self.types)}
        same = (other for group in _SAME_TYPE if group & types for other in group)
        return CompiledFilter(
            tuple(form for path in absolute for form in _forms(path)),
            frozenset(f".{name}" for name in (*types, *same)),
            None if self.after is None else _local_seconds("after", self.after),
            None if self.before is None else _local_seconds("before", self.before),
        )


@dataclass(frozen=True)
class CompiledFilter:
    """Absolute folders, file name endings in lower case with their dot, and times in seconds of local time."""

    folders: tuple[str, ...] = ()
    suffixes: frozenset[str] = frozenset()
    after: float | None = None
    before: float | None = None

    def __bool__(self) -> bool:
        return self != CompiledFilter()

    def takes(self, item: FilterFields) -> bool:
        if self.folders and not any(is_within(item.path, folder) for folder in self.folders):
            return False
        if self.suffixes and os.path.splitext(item.path)[1].lower() not in self.suffixes:
            return False
        if self.after is None and self.before is None:
            return True
        taken: float | None = item.taken
        if taken is None:
            if item.mtime_ns is None:  # no date is known
                return False
            taken = _wall_clock(item.mtime_ns / 1e9)
        return (self.after is None or taken >= self.after) and (self.before is None or taken < self.before)


def _forms(path: str) -> list[str]:
    """The Unicode forms in which a path may be indexed: the one that it has on disk or, if it is not there, all."""
    if path.isascii() or os.path.lexists(path):
        return [path]
    return list(dict.fromkeys([path, normalize("NFC", path), normalize("NFD", path)]))


def _all_of(given: Any) -> tuple[Any, ...]:
    """A single name or path, or all of an iterable, which might be a generator that can be read only once."""
    return (given,) if isinstance(given, str | os.PathLike) else tuple(given)


def _local_seconds(name: str, day: str | int | date) -> float:
    """A day or a moment as seconds of local time, as if that were UTC: what cameras write down."""
    try:
        if isinstance(day, str | int):  # a year may be given as a number
            day = str(day)
            day = datetime.fromisoformat(day + "-01-01"[3 * day.count("-") :] if len(day) < 8 else day)
        if not isinstance(day, datetime):
            day = datetime(day.year, day.month, day.day)
    except ValueError:
        raise HashcliError(f"{name} {day} is not a day.", f"For example: {name} 2023, or {name} 2023-05-14.") from None
    return day.replace(tzinfo=UTC).timestamp()


def _wall_clock(timestamp: float) -> float:
    """A moment in local time, in seconds as if that were UTC; where the system knows no local time for it, itself."""
    try:
        return timestamp + time.localtime(timestamp).tm_gmtoff
    except (OSError, OverflowError, ValueError):
        return timestamp
