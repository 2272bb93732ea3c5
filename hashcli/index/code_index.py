"""The seam for search engines: the protocol that an engine implements, and the first engine, FAISS in two files.

A code index holds the packed codes of one kind of item. It is derived from the catalog, and can be made from it again
at any time. To add an engine, implement `CodeIndex`.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import faiss
import numpy as np

from hashcli.index.catalog import Kind
from hashcli.index.derived_files import TRAILER, ChecksummedFile, generation_of, map_file, write_file

# Codes tie often. Asking for a few more than are wanted costs nothing, and the ties at rank k are nearly always whole.
MARGIN = 64
_NPY_HEADER = 128  # bytes that np.save puts before a one-dimensional array
_FAISS_FLAT = b"IBxF"  # how FAISS's file of a flat binary index begins
_SMALL = 8 << 20  # bytes of which the checksum takes no time that matters to a search: 4 ms
FILE_NAMES = {
    Kind.IMAGE: ("images.faiss", "images.ids.npy"),
    Kind.TEXT: ("texts.faiss", "texts.ids.npy"),
}

# A few queries are never searched in parallel: starting threads would cost more than the search, and they keep the
# cores busy while they wait for each other.
_FEW = 32


class Candidates(NamedTuple):
    """Items near one query: ids int64 [c], Hamming distances int64 [c] and packed codes uint8 [c, bits / 8]."""

    ids: np.ndarray
    distances: np.ndarray
    codes: np.ndarray


class SearchableCodes(Protocol):
    """The packed codes of one kind of item, searchable by Hamming distance.

    Item ids are int64 and unique; codes are uint8 [n, bits / 8].
    """

    def search(self, codes: np.ndarray, k: int, count: int) -> Iterable[Candidates]:
        """Candidates for each of the query codes uint8 [q, bits / 8], in any order.

        These are at least the `count` nearest items, and all that are as near as the k-th (k <= count).
        """


class ListedCodes(SearchableCodes, Protocol):
    """Codes of which it is known which items they are of, as of those on this machine."""

    @property
    def ids(self) -> np.ndarray:
        """The ids of its items, in ascending order."""

    def __len__(self) -> int:
        """How many items it holds."""

    def search(self, codes: np.ndarray, k: int, count: int, among: np.ndarray | None = None) -> Iterable[Candidates]:
        """As `SearchableCodes`. `among`, bool [n] for the n items in ascending order of their ids, says which are
        searched; without it, all are."""


class CodeIndex(ListedCodes, Protocol):
    """Codes that are derived from a catalog on this machine, and kept up to date with it.

    `generation` is that of the catalog whose codes it holds, None if it holds nothing that can be used; a searcher
    compares it with the catalog's before each search.
    """

    generation: int | None

    def replace(self, ids: np.ndarray, codes: np.ndarray, generation: int) -> None:
        """Replace all items by these. If that fails, raises OSError and keeps the old ones."""

    def add(self, ids: np.ndarray, codes: np.ndarray, generation: int) -> None:
        """Add these items; an id that is there already gets the new code. Fails as `replace` does."""

    def remove(self, ids: np.ndarray, generation: int) -> None:
        """Remove the items of these ids; ids that are not there are ignored. Fails as `replace` does."""


class MemoryCodeIndex:
    """A code index in memory: FAISS's flat index, which compares a query with every code. Nothing is written."""

    def __init__(self, ids: np.ndarray, codes: np.ndarray, generation: int | None = None) -> None:
        """From ids [n] in ascending order and packed codes uint8 [n, bits / 8]."""
        self._flat, self._ids, self.generation = _flat(codes), ids, generation

    def __len__(self) -> int:
        return int(self._flat.ntotal)

    @property
    def ids(self) -> np.ndarray:
        return self._ids

    def search(self, codes: np.ndarray, k: int, count: int, among: np.ndarray | None = None) -> list[Candidates]:
        available = len(self) if among is None else int(np.count_nonzero(among))
        k, count = min(k, available), min(count + MARGIN, available)
        if not k:
            return [_nothing(codes) for _ in codes]
        chosen = None if among is None or available == len(self) else _only(among)
        with _threads(len(codes)):
            found = self._flat.search(codes, count, params=chosen)
        candidates = []
        for code, distances, rows in zip(codes, *found, strict=True):
            if count < available and distances[-1] == distances[k - 1]:  # more may tie with the k-th
                radius = int(distances[-1]) + 1  # distance < radius
                _, distances, rows = self._flat.range_search(code[None], radius, params=chosen)
            candidates.append(
                Candidates(self._ids[rows].astype(np.int64), distances.astype(np.int64), self._codes(rows))
            )
        return candidates

    def holds(self, ids: np.ndarray, codes: np.ndarray) -> bool:
        """Whether its items are these, in ascending order of their ids."""
        return np.array_equal(self._ids, ids) and np.array_equal(self._codes(np.arange(len(self))), codes)

    def replace(self, ids: np.ndarray, codes: np.ndarray, generation: int) -> None:
        ids, codes = _in_order(ids, codes)
        self._flat, self._ids, self.generation = _flat(codes), ids, generation

    def add(self, ids: np.ndarray, codes: np.ndarray, generation: int) -> None:
        kept = np.flatnonzero(~np.isin(self._ids, ids))
        both = np.concatenate([self._ids[kept].astype(np.int64), ids]), np.concatenate([self._codes(kept), codes])
        self.replace(*both, generation)

    def remove(self, ids: np.ndarray, generation: int) -> None:
        kept = np.flatnonzero(~np.isin(self._ids, ids))
        self.replace(self._ids[kept].astype(np.int64), self._codes(kept), generation)

    def _codes(self, rows: np.ndarray) -> np.ndarray:
        """Packed codes uint8 [rows, bits / 8], without touching any others."""
        width = self._flat.code_size
        if not len(self):  # FAISS has no array to show
            return np.empty((0, width), np.uint8)
        every = faiss.rev_swig_ptr(self._flat.xb.data(), len(self) * width).reshape(-1, width)
        return every[rows]  # type: ignore[no-any-return]


class FaissCodeIndex(MemoryCodeIndex):
    """A code index in two files: FAISS's own format, and the ids of its rows as NumPy writes them.

    Each file ends in a trailer with the generation it was made from. The files are mapped into memory, so that a search
    reads only what it needs. If they are missing, damaged, of two generations, or not of `bits`, they are not used: the
    code index is empty then, and its generation None. With `check_content` they are read whole, and their checksums
    compared; small files always are.
    """

    def __init__(self, folder: Path, kind: Kind, bits: int, *, check_content: bool = False) -> None:
        self._codes_path, self._ids_path = (folder / name for name in FILE_NAMES[kind])
        mapped = _map(self._codes_path, self._ids_path, bits, check_content)
        if mapped is None:
            super().__init__(np.empty(0, np.int64), np.empty((0, bits // 8), np.uint8))
        else:
            self._flat, self._ids, self.generation, self._memory = mapped

    def replace(self, ids: np.ndarray, codes: np.ndarray, generation: int) -> None:
        """Write both files anew, each in one step."""
        ids, codes = _in_order(ids, codes)
        flat = _flat(codes)
        write_file(self._codes_path, generation, lambda file: _save_flat(file, flat))
        write_file(self._ids_path, generation, lambda file: np.save(file, ids.astype(np.uint32)))
        self._flat, self._ids, self.generation = flat, ids, generation


class BlockwiseCodes:
    """Packed codes that are read in blocks whenever they are searched: slow, but only one block is in memory."""

    def __init__(self, count: int, read: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]) -> None:
        """From how many there are, and what reads (ids, codes) of one block after the other, in ascending order of ids;
        as `MemoryCodeIndex` takes them."""
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> np.ndarray:
        """As for `CodeIndex`; read anew each time."""
        return np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in self._read())])

    def search(self, codes: np.ndarray, k: int, count: int, among: np.ndarray | None = None) -> list[Candidates]:
        """As for `CodeIndex`."""
        best = [_nothing(codes) for _ in codes]
        start = 0
        for ids, block in self._read():
            among_block = None if among is None else among[start : start + len(ids)]
            found = MemoryCodeIndex(ids, block).search(codes, k, count, among_block)
            best = [_nearest_of(*both, k, count) for both in zip(best, found, strict=True)]
            start += len(ids)
        return best


def _nothing(codes: np.ndarray) -> Candidates:
    none = np.empty(0, np.int64)
    return Candidates(none, none, codes[:0])


def _nearest_of(some: Candidates, others: Candidates, k: int, count: int) -> Candidates:
    """Of two lots of candidates, those that `CodeIndex.search` has to find in both together."""
    ids, distances, codes = (np.concatenate(both) for both in zip(some, others, strict=True))
    order = np.lexsort((ids, distances))
    if len(order) > count + MARGIN:
        ties = int(np.searchsorted(distances[order], distances[order[k - 1]], side="right"))
        order = order[: max(count + MARGIN, ties)]
    return Candidates(ids[order], distances[order], codes[order])


def _only(among: np.ndarray) -> Any:
    """What FAISS searches of all rows, as bool [n]."""
    selector = faiss.IDSelectorBitmap(np.packbits(among, bitorder="little"))  # type: ignore[call-arg, arg-type]
    return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]


def _in_order(ids: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted by id; not copied if they are."""
    if (ids[1:] > ids[:-1]).all():
        return ids, codes
    order = np.argsort(ids)
    return ids[order], codes[order]


def _save_flat(file: ChecksummedFile, flat: Any) -> None:
    # Through Python, as FAISS takes no path that is not UTF-8.
    writer: Any = faiss.PyCallbackIOWriter(file.write)  # type: ignore[attr-defined]
    faiss.write_index_binary(flat, writer)


def _flat(codes: np.ndarray) -> Any:
    flat = faiss.IndexBinaryFlat(codes.shape[1] * 8)
    flat.add(codes)
    return flat


@contextmanager
def _threads(queries: int) -> Iterator[None]:
    """Have FAISS search so many queries on all cores, or a few on one. This holds for the thread that is in it."""
    faiss.omp_set_num_threads((os.cpu_count() or 1) if queries > _FEW else 1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(1)


class _MappedFiles(NamedTuple):
    """FAISS's index and ids uint32 [n], both in mapped memory; their generation; and what keeps the memory mapped."""

    flat: Any
    ids: np.ndarray
    generation: int
    memory: tuple[np.ndarray, np.ndarray]


def _map(codes_path: Path, ids_path: Path, bits: int, check_content: bool) -> _MappedFiles | None:
    """The two files, mapped; None if they cannot be used."""
    try:
        codes_file, ids_file = map_file(codes_path), map_file(ids_path)
        check_content = check_content or codes_file.nbytes <= _SMALL
        generation = generation_of(codes_file, check_content=check_content)
        if generation is None or generation_of(ids_file, check_content=check_content) != generation:
            return None
        if codes_file[: len(_FAISS_FLAT)].tobytes() != _FAISS_FLAT:  # FAISS would go by whatever kind it finds
            return None
        # Read from memory, as FAISS takes no path that is not UTF-8. It keeps pointing there and copies nothing.
        reader: Any = faiss.ZeroCopyIOReader(faiss.swig_ptr(codes_file), codes_file.nbytes)  # type: ignore[attr-defined]
        flat: Any = faiss.read_index_binary(reader)
        ids = np.frombuffer(ids_file, np.uint32, offset=_NPY_HEADER, count=flat.ntotal)
        has_codes = flat.d == bits and flat.code_size == bits // 8 and flat.xb.size() == flat.ntotal * flat.code_size
        if not has_codes or ids_file.nbytes != _NPY_HEADER + ids.nbytes + TRAILER.size:
            return None
    except (OSError, ValueError, RuntimeError, struct.error):
        return None
    return _MappedFiles(flat, ids, generation, (codes_file, ids_file))
