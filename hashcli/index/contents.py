"""The different contents of the photos in an index, in few bytes each: files are looked up when they are needed."""

from array import array
from collections.abc import Collection, Iterable

import numpy as np

from hashcli.index.catalog import Catalog, IndexedFile, Kind


class Contents:
    """The contents of some photos of an index, numbered from the one indexed first, and the files of each.

    To be used while the catalog has a snapshot, and in one thread.
    """

    def __init__(self, catalog: Catalog, photos: Iterable[tuple[str, IndexedFile]]) -> None:
        ids, hashes = array("q"), array("q")
        for _, photo in photos:
            ids.append(photo.id)
            hashes.append(hash(photo.hash))
        _, first, content = np.unique(np.array(hashes, np.int64), return_index=True, return_inverse=True)
        numbers = np.argsort(np.argsort(first))[content]  # in the order in which they come up
        order = np.argsort(numbers, kind="stable")
        self._catalog = catalog
        self._ids = np.array(ids, np.int64)[order]
        self._starts = np.searchsorted(numbers[order], np.arange(len(first) + 1))
        self._is_left_out = np.zeros(len(order), bool)

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def photos(self) -> int:
        """How many photos there are."""
        return len(self._ids)

    def counts(self) -> np.ndarray:
        """How many files each content has, int64 [n], those left out too."""
        return np.diff(self._starts)

    def codes(self) -> np.ndarray:
        """The packed code of each content, uint8 [n, bits / 8]."""
        ids, codes = self._catalog.codes(Kind.IMAGE)
        return codes[np.searchsorted(ids, self._ids[self._starts[:-1]])]

    def files(self, number: int) -> dict[str, IndexedFile]:
        """The files of a content by path, the oldest first, without those left out."""
        rows = slice(*self._starts[number : number + 2])
        ids = self._ids[rows][~self._is_left_out[rows]]
        files = (self._catalog.photo(id_) for id_ in ids.tolist())
        return dict(sorted(files, key=lambda entry: (entry[1].state.mtime_ns, entry[0])))

    def leave_out(self, number: int, files: Collection[IndexedFile]) -> None:
        """Leave out some of the files of a content."""
        rows = slice(*self._starts[number : number + 2])
        self._is_left_out[rows] |= np.isin(self._ids[rows], [file.id for file in files])
