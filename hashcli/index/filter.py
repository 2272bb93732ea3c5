"""Which items of an index may be answers: where they lie, of which file type, from when, and taken where."""

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from hashcli.errors import HashcliError
from hashcli.index.files.paths import canonical
from hashcli.index.places import Circle, circle

if TYPE_CHECKING:
    import numpy as np

    from hashcli.index.filter_table import FilterTable, Group

_BLOCK = 1 << 16  # items whose times are compared at once
_ALWAYS = 2**62  # microseconds, later than any time
_SAME_TYPE = (("jpg", "jpeg"), ("tif", "tiff"), ("heic", "heif"))


@dataclass(frozen=True)
class Filter:
    """Which items may be answers: those in one of the folders, of one of the file types, within these dates, and near a
    place.

    No folders, or no types, set no bound. `types` are file name endings such as "jpg", which stands for "jpeg" too.
    `after` and `before` are a date, or a text such as 2023, 2023-05, 2023-05-14 or 2023-05-14T18:30, in the local time
    where the photo was taken; `after` includes that moment, `before` does not. A photo that does not say when it was
    taken has the time at which its file was last changed. `near` is a latitude and a longitude in degrees and how many
    kilometres around them, 10 if it is left out; or a text such as "48.86,2.35,10km" or "48.86,2.35,500m". It takes no
    photo that does not say where it was taken. A text about a photo is judged by the photo.

        Filter(folders=["~/Pictures/family"], types=["jpg"], after="2023", before="2024-07", near=(48.86, 2.35, 5))

    Raises HashcliError for an empty folder, for an `after` or `before` that is not a day, and for a `near` that is no
    place.
    """

    folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = ()
    types: str | Iterable[str] = ()
    after: str | int | date | None = None
    before: str | int | date | None = None
    near: str | Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folders", _all_of(self.folders))
        object.__setattr__(self, "types", _all_of(self.types))
        if not all(map(os.fspath, _all_of(self.folders))):  # which would stand for the working directory
            raise HashcliError("A folder of the filter is empty.", 'Give "." for the working directory.')
        self.compiled()  # raises for a date or place that is wrong

    def compiled(self) -> "CompiledFilter":
        """The filter as it is applied to many items. Folders are looked up on disk, for links in their paths."""
        expanded = [os.path.expanduser(folder) for folder in _all_of(self.folders)]
        absolute = [path for folder in expanded for path in _absolute_forms(folder)]
        types = {name.lower().lstrip(".") for name in _all_of(self.types)}
        same = (other for group in _SAME_TYPE if types.intersection(group) for other in group)
        return CompiledFilter(
            tuple(form for path in absolute for form in _forms(path)),
            frozenset(f".{name}" for name in (*types, *same)),
            None if self.after is None else _local_time("after", self.after),
            None if self.before is None else _local_time("before", self.before),
            None if self.near is None else circle(self.near),
        )


@dataclass(frozen=True)
class CompiledFilter:
    """Absolute folders, file name endings in lower case with their dot, times in microseconds of local time, and where
    photos were taken."""

    folders: tuple[str, ...] = ()
    suffixes: frozenset[str] = frozenset()
    after: int | None = None
    before: int | None = None
    near: Circle | None = None

    def __bool__(self) -> bool:
        return self != CompiledFilter()

    def taken_of(self, table: "FilterTable", base: str, rows_of: Callable[[str], Iterable[int]]) -> "np.ndarray":
        """Which items of a table it takes, bool [items].

        `base` is the folder that relative ones in the table are in, and `rows_of` finds the items of a single file.
        """
        import numpy as np

        from hashcli.index.filter_table import MODIFIED, UNKNOWN

        paths = [_absolute(group, base) for group in table.names]
        within = np.full(len(paths), not self.folders)
        files = []
        for folder in self.folders:
            below = [path.startswith(folder.rstrip(os.sep) + os.sep) for path in paths]
            within |= np.array(below, bool)
            if not any(below) and _folder_and_suffix(folder) in {
                (path, group.suffix) for path, group in zip(paths, table.names, strict=True)
            }:
                files.append(folder)
        taken: np.ndarray = within[table.groups]
        for file in files:
            taken[[row for row in rows_of(file) if row < len(taken)]] = True
        of_type = [not self.suffixes or group.suffix in self.suffixes for group in table.names]
        taken &= np.array(of_type, bool)[table.groups]
        if self.near:
            taken &= table.are_in(self.near)
        if self.after is None and self.before is None:
            return taken
        clocks = np.array([group.clock for group in table.names], np.uint8)
        after, before = (None if bound is None else _From(bound) for bound in (self.after, self.before))
        for start in range(0, len(taken), _BLOCK):
            block = slice(start, start + _BLOCK)
            clock, times = clocks[table.groups[block]], table.times[block]
            taken[block] &= clock != UNKNOWN
            if after:
                taken[block] &= after.holds(times, clock == MODIFIED)
            if before:
                taken[block] &= ~before.holds(times, clock == MODIFIED)
        return taken


def type_of(path: str) -> str:
    """The file type of a path as `Filter` takes it, and of those that it takes for the same always the same one."""
    name = os.path.splitext(path)[1][1:].lower()
    return next((group[0] for group in _SAME_TYPE if name in group), name)


def _absolute_forms(folder: str) -> tuple[str, ...]:
    """A folder as an index may know it: also by a link's name. An address, as of published photos, stays as it is."""
    return (folder,) if "://" in folder else (canonical(folder), os.path.abspath(folder))


def _folder_and_suffix(path: str) -> tuple[str, str]:
    """What the group of a file would have."""
    folder, name = os.path.split(path)
    return folder.rstrip(os.sep) + os.sep, os.path.splitext(name)[1].lower()


def _absolute(group: "Group", base: str) -> str:
    """The folder of a group, with a separator at its end."""
    return group.folder if os.path.isabs(group.folder) else base.rstrip(os.sep) + os.sep + group.folder


def _forms(path: str) -> list[str]:
    """The Unicode forms in which a path may be indexed: the one that it has on disk or, if it is not there, all."""
    if path.isascii() or os.path.lexists(path):
        return [path]
    return list(dict.fromkeys([path, normalize("NFC", path), normalize("NFD", path)]))


def _all_of(given: Any) -> tuple[Any, ...]:
    """A single name or path, or all of an iterable, which might be a generator that can be read only once."""
    return (given,) if isinstance(given, str | os.PathLike) else tuple(given)


def _local_time(name: str, day: str | int | date) -> int:
    """A day or a moment in microseconds of local time, as if that were UTC: what cameras write down."""
    try:
        if isinstance(day, str | int):  # a year may be given as a number
            day = str(day)
            day = datetime.fromisoformat(day + "-01-01"[3 * day.count("-") :] if len(day) < 8 else day)
        if not isinstance(day, datetime):
            day = datetime(day.year, day.month, day.day)
    except (AttributeError, ValueError):  # something else was given, or no such day
        raise HashcliError(f"{name} {day} is not a day.", f"For example: {name} 2023, or {name} 2023-05-14.") from None
    return round(day.replace(tzinfo=UTC).timestamp() * 1e6)


def wall_clock(timestamp: float) -> float:
    """A moment in local time, in seconds as if that were UTC; where the system knows no local time for it, itself."""
    return timestamp + _offset(int(timestamp))


class _From:
    """From a moment of local time on, in microseconds as if that were UTC."""

    def __init__(self, moment: int) -> None:
        self._moment, self._in_utc = moment, from_in_utc(moment)

    def holds(self, times: "np.ndarray", is_utc: "np.ndarray") -> "np.ndarray":
        """Which times are at or after the moment, bool [n]. They are in UTC where `is_utc` says so, else in local
        time."""
        import numpy as np

        from_utc = np.zeros(len(times), bool)
        for begin, end in self._in_utc:
            from_utc |= (times >= begin) & (times < end)
        return np.where(is_utc, from_utc, times >= self._moment)


def from_in_utc(moment: int) -> list[tuple[int, int]]:
    """When local time is at or after a moment: from when to when in UTC, in microseconds.

    Usually that is one stretch of time, but clocks that are put back show the same time twice. Local time is less than
    two days from UTC everywhere, so that a change of clocks on any other day than those around the moment is not asked
    for.
    """
    first = moment // 1_000_000 - 2 * 86_400
    changes = [(-_ALWAYS, _offset(first))]
    for hour in range(first, first + 4 * 86_400, 3600):
        offset = _offset(hour)
        if _offset(hour + 3600) != offset:
            hours_seconds = range(hour, hour + 3601)
            second = hours_seconds[bisect_left(hours_seconds, True, key=lambda second: _offset(second) != offset)]
            changes.append((second * 1_000_000, _offset(second)))
    ends = [*(begin for begin, _ in changes[1:]), _ALWAYS]
    stretches = [
        (max(begin, moment - offset * 1_000_000), end) for (begin, offset), end in zip(changes, ends, strict=True)
    ]
    return [(begin, end) for begin, end in stretches if begin < end]


def _offset(second: int) -> int:
    """Seconds by which local time is ahead of UTC then; 0 where the system knows no local time for it."""
    try:
        return time.localtime(second).tm_gmtoff
    except (OSError, OverflowError, ValueError):
        return 0
