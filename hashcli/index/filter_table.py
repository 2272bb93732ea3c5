"""What filters look at, as arrays with an entry for each item, and the file that they are mapped from.

The file is derived from the catalog, as the codes are. It has some 10 bytes for each item: a time, and the number of a
group of items that are in one folder and of one file type.
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

TABLE_NAMES = {Kind.IMAGE: "images.filter", Kind.TEXT: "texts.filter"}
TAKEN, MODIFIED, UNKNOWN = range(3)  # what the time of an item is

_HEADER = struct.Struct("<QQQ")  # how many items, bytes of a group's number, bytes of the groups as JSON
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
    """

    times: np.ndarray
    groups: np.ndarray
    names: list[Group]

    @classmethod
    def of(cls, fields: Iterable[FilterFields]) -> "FilterTable":
        """From what the catalog says of each item."""
        times, groups = array("q"), array("I")
        numbers: dict[tuple[str, str, int], int] = {}
        for path, taken, mtime_ns in fields:
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
        smallest = np.min_scalar_type(len(numbers))
        return cls(
            np.frombuffer(times, np.int64) if times else np.empty(0, np.int64),
            np.array(groups, smallest),
            [Group(*group) for group in numbers],
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
            count, width, length = _HEADER.unpack_from(content.data)
            groups_at = _HEADER.size + 8 * count
            names_at = groups_at + width * count
            if width not in (1, 2, 4) or names_at + length + TRAILER.size != content.nbytes:
                return None
            names = [Group(*group) for group in json.loads(content[names_at : names_at + length].tobytes())]
            times = np.frombuffer(content, np.int64, count, _HEADER.size)
            groups = np.frombuffer(content, f"u{width}", count, groups_at)
        except (OSError, ValueError, TypeError, RecursionError, struct.error):
            return None
        if count and groups.max() >= len(names):
            return None
        are_groups = (
            isinstance(folder, str) and isinstance(suffix, str) and clock in (TAKEN, MODIFIED, UNKNOWN)
            for folder, suffix, clock in names
        )
        return cls(times, groups, names) if all(are_groups) else None

    def write(self, index_folder: Path, kind: Kind, generation: int) -> None:
        """Write the file anew, in one step. Raises OSError."""
        names = json.dumps(self.names, separators=(",", ":")).encode()

        def write(file: ChecksummedFile) -> None:
            file.write(_HEADER.pack(len(self.times), self.groups.itemsize, len(names)))
            file.write(self.times.data)
            file.write(self.groups.data)
            file.write(names)

        write_file(index_folder / TABLE_NAMES[kind], generation, write)

    def equals(self, other: "FilterTable") -> bool:
        return (
            self.names == other.names
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.groups, other.groups)
        )
