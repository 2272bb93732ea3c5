"""What filters look at, as arrays with an entry for each item, and the file that they are mapped from.

The file is derived from the catalog, as the codes are. It has some 10 bytes for each item: a time, and the number of a
group of items that are in one folder and of one file type. Where places are known, it has 8 more.
"""

import json
import os
import struct
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hashcli.index.catalog import FilterFields, Kind
from hashcli.index.derived_files import TRAILER, ChecksummedFile, generation_of, map_file, write_file
from hashcli.index.places import UNITS, Circle

TABLE_NAMES = {Kind.IMAGE: "images.filter", Kind.TEXT: "texts.filter"}
TAKEN, MODIFIED, UNKNOWN = range(3)  # what the time of an item is

# How many items, how many of them have an entry in the places (all or none), bytes of a group's number, bytes of the
# groups as JSON.
_HEADER = struct.Struct("<QQQQ")
_NOWHERE = -(2**31)  # in the place of a latitude that is not known
_BLOCK = 1 << 16  # items whose places are compared at once
_FARTHEST = 10**12  # seconds; dates end long before


class Group(NamedTuple):
    """Items of one folder and one file type, with one kind of times.

    folder   as the catalog stores paths: absolute, or relative to the folder that the index folder is in; with the
             separator at its end
    suffix   the file name ending in lower case with its dot, or nothing
    clock    TAKEN if their times are when photos were taken, in local time as if that were UTC; MODIFIED if they are
             when files were last modified; UNKNOWN if there are none
    """

    folder: str
    suffix: str
    clock: int


class FilterTable(NamedTuple):
    """What filters look at of n items, in ascending order of their ids.

    times    int64 [n], microseconds since 1970
    groups   unsigned integers [n], which of the `names` each item belongs to
    places   int32 [n, 2], latitude and longitude as the catalog stores them; [0, 2] if none is known
    """

    times: np.ndarray
    groups: np.ndarray
    names: list[Group]
    places: np.ndarray

    @classmethod
    def of(cls, fields: Iterable[FilterFields]) -> "FilterTable":
        """From what the catalog says of each item."""
        times, groups, places = array("q"), array("I"), array("i")
        numbers: dict[tuple[str, str, int], int] = {}
        for path, taken, mtime_ns, latitude, longitude in fields:
            if taken is not None:
                if not -_FARTHEST < taken < _FARTHEST:
                    taken = _FARTHEST if taken > 0 else -_FARTHEST
                clock, time = TAKEN, 1_000_000 * taken
            elif mtime_ns is not None:
                clock, time = MODIFIED, mtime_ns // 1000
            else:
                clock, time = UNKNOWN, 0
            name_at = path.rfind(os.sep) + 1
            dot = path.rfind(".")
            if dot > name_at and path[name_at] != ".":  # in a third of the time that splitext takes
                suffix = path[dot:].lower()
            else:
                suffix = os.path.splitext(path[name_at:])[1].lower()
            group = path[:name_at], suffix, clock
            times.append(time)
            groups.append(numbers.setdefault(group, len(numbers)))
            if latitude is not None and longitude is not None and _is_place(latitude, longitude):
                places.extend((_NOWHERE, 0) * (len(times) - 1 - len(places) // 2))
                places.extend((latitude, longitude))
        if places:
            places.extend((_NOWHERE, 0) * (len(times) - len(places) // 2))
        smallest = np.min_scalar_type(len(numbers))
        return cls(
            np.frombuffer(times, np.int64) if times else np.empty(0, np.int64),
            np.array(groups, smallest),
            [Group(*group) for group in numbers],
            np.array(places, np.int32).reshape(-1, 2),
        )

    @classmethod
    def read(cls, index_folder: Path, kind: Kind, generation: int) -> "FilterTable | None":
        """Mapped from its file; None if that is missing, damaged, or not of this generation.

        It is read whole, to compare its checksum: a damaged time would leave out an answer, which nobody would notice.
        """
        try:
            content = map_file(index_folder / TABLE_NAMES[kind])
            if generation_of(content, check_content=False) != generation:
                return None
            if generation_of(content, check_content=True) is None:
                return None
            count, with_places, width, length = _HEADER.unpack_from(content.data)
            places_at = _HEADER.size + 8 * count
            groups_at = places_at + 8 * with_places
            names_at = groups_at + width * count
            if (
                width not in (1, 2, 4)
                or with_places not in (0, count)
                or names_at + length + TRAILER.size != content.nbytes
            ):
                return None
            names = [Group(*group) for group in json.loads(content[names_at : names_at + length].tobytes())]
            times = np.frombuffer(content, np.int64, count, _HEADER.size)
            groups = np.frombuffer(content, f"u{width}", count, groups_at)
            places = np.frombuffer(content, np.int32, 2 * with_places, places_at).reshape(-1, 2)
        except (OSError, ValueError, TypeError, RecursionError, struct.error):
            return None
        if count and groups.max() >= len(names):
            return None
        are_groups = (
            isinstance(folder, str) and isinstance(suffix, str) and clock in (TAKEN, MODIFIED, UNKNOWN)
            for folder, suffix, clock in names
        )
        return cls(times, groups, names, places) if all(are_groups) else None

    def write(self, index_folder: Path, kind: Kind, generation: int) -> None:
        """Write the file anew, in one step. Raises OSError."""
        names = json.dumps(self.names, separators=(",", ":")).encode()

        def write(file: ChecksummedFile) -> None:
            file.write(_HEADER.pack(len(self.times), len(self.places), self.groups.itemsize, len(names)))
            file.write(self.times.data)
            file.write(self.places.data)
            file.write(self.groups.data)
            file.write(names)

        write_file(index_folder / TABLE_NAMES[kind], generation, write)

    def equals(self, other: "FilterTable") -> bool:
        return (
            self.names == other.names
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.groups, other.groups)
            and np.array_equal(self.places, other.places)
        )

    def are_in(self, circle: Circle) -> np.ndarray:
        """Which items were taken in a circle, bool [n]."""
        found = np.zeros(len(self.times), bool)
        for start in range(0, len(self.places), _BLOCK):
            block = self.places[start : start + _BLOCK]
            found[start : start + _BLOCK] = (block[:, 0] != _NOWHERE) & circle.holds(block)
        return found


def _is_place(latitude: int, longitude: int) -> bool:
    """Whether they are ones that hashcli stores: a stranger may have put there anything."""
    return abs(latitude) <= 90 * UNITS and abs(longitude) <= 180 * UNITS
