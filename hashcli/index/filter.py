"""Which items of an index may be answers: where they lie, of which file type, and from when."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from hashcli.errors import HashcliError
from hashcli.index.catalog import FilterFields
from hashcli.index.files.paths import canonical, is_within

_SAME_TYPE = (frozenset({"jpg", "jpeg"}), frozenset({"tif", "tiff"}), frozenset({"heif", "heic"}))


@dataclass(frozen=True)
class Filter:
    """Which items may be answers: those in one of the folders, of one of the file types, and of these dates.

    `types` are endings such as "jpg", which stands for "jpeg" too. `after` and `before` are a day, as a date or as
    text: 2023, 2023-05, 2023-05-14 or 2023-05-14T18:30, in the local time where the photo was taken; `after` includes
    it, `before` does not. A photo that does not say when it was taken has the time its file was last changed. A text
    about a photo is judged by the photo.

        Filter(folders=["~/Pictures/family"], types=["jpg"], after="2023", before="2024-07")

    Raises HashcliError for a day that is none.
    """

    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = ()
    types: str | Sequence[str] = ()
    after: str | date | None = None
    before: str | date | None = None

    def __post_init__(self) -> None:
        self.compiled()

    def compiled(self) -> "CompiledFilter":
        """The filter as it is applied to many items. A folder is looked up on disk, for links in its path."""
        folders = [self.folders] if isinstance(self.folders, str | os.PathLike) else self.folders
        expanded = [os.path.expanduser(folder) for folder in folders]
        types = {name.lower().lstrip(".") for name in ([self.types] if isinstance(self.types, str) else self.types)}
        same = (other for group in _SAME_TYPE if group & types for other in group)
        return CompiledFilter(
            tuple(path for folder in expanded for path in (canonical(folder), os.path.abspath(folder))),
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


def _local_seconds(name: str, day: str | date) -> float:
    """A day or a moment as seconds of local time, as if that were UTC: what cameras write down."""
    try:
        if isinstance(day, str):
            day = datetime.fromisoformat(day + "-01-01"[3 * day.count("-") :] if len(day) < 8 else day)
        if not isinstance(day, datetime):
            day = datetime(day.year, day.month, day.day)
    except ValueError:
        raise HashcliError(f"{name} {day} is not a day.", f"For example: {name} 2023, or {name} 2023-05-14.") from None
    return day.replace(tzinfo=UTC).timestamp()


def _wall_clock(timestamp: float) -> float:
    """A moment as the clock on the wall showed it, in seconds as if it were UTC."""
    return timestamp + time.localtime(timestamp).tm_gmtoff
