"""The codes of one kind of item, searchable by Hamming distance: the one place that knows which engine is behind.

On disk they are derived files, `images.faiss` (FAISS's own format) and `images.ids.npy`, each followed by a trailer
with the catalog generation it was made from. Files that are missing, stale or damaged are not used.
"""

import errno
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import faiss
import numpy as np

from hashcli.hashmodel.codes import pack, unpack
from hashcli.hashmodel.prefetch import prefetch
from hashcli.index.catalog import Kind

# Codes tie often. So many extra candidates are asked for at no cost that the ties at rank k are nearly always whole.
_MARGIN = 64
_TRAILER = struct.Struct("<QI")  # generation, CRC-32 of what stands before
_NPY_HEADER = 128  # bytes that np.save puts before a one-dimensional array
_NEAR_BLOCK = 128  # codes compared with all others together
_STEMS = {Kind.IMAGE: "images", Kind.TEXT: "texts"}

# One query is never searched in parallel, and starting threads would cost more than the search.
faiss.omp_set_num_threads(1)


@contextmanager
def _threads(queries: int) -> Iterator[None]:
    if queries > 1:
        faiss.omp_set_num_threads(os.cpu_count() or 1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(1)


class Neighbours(NamedTuple):
    """Answers to one query, best first: item ids int64 [k] and Hamming distances in bits int64 [k].

    `smallest` is the distance of the nearest item of all, also when that is too far to be an answer; -1 without items.
    """

    ids: np.ndarray
    distances: np.ndarray
    smallest: int


class DistanceLimit(NamedTuple):
    """How near an answer must be: no more than so many bits, and no more than so many further than the nearest."""

    max_distance: int | None = None
    within: int | None = None

    def limit(self, smallest: int) -> int | None:
        """The largest distance of an answer, in bits; None if there is none."""
        limits = [self.max_distance, None if self.within is None else smallest + self.within]
        return min((limit for limit in limits if limit is not None), default=None)


class Codes:
    """Packed codes and the item ids of their rows. `in_memory` from arrays, or `mapped` from the derived files."""

    def __init__(self, flat: Any, ids: np.ndarray) -> None:
        self._flat = flat
        self._ids = ids

    @classmethod
    def in_memory(cls, ids: np.ndarray, codes: np.ndarray) -> "Codes":
        """From ids [n] and packed codes uint8 [n, bits / 8]."""
        flat = faiss.IndexBinaryFlat(codes.shape[1] * 8)
        flat.add(codes)
        return cls(flat, ids)

    @classmethod
    def mapped(
        cls, folder: Path, kind: Kind, generation: int, bits: int, *, check_content: bool = False
    ) -> "Codes | None":
        """The derived files of this generation, read from disk as a search touches them; None if they cannot be used.

        `check_content` reads them whole and compares checksums.
        """
        codes_path, ids_path = _paths(folder, kind)
        try:
            if not all(_is_whole(path, generation, check_content) for path in (codes_path, ids_path)):
                return None
            # Plain IO_FLAG_MMAP would copy a flat index into memory.
            flat = faiss.read_index_binary(str(codes_path), faiss.IO_FLAG_MMAP_IFC)
            with ids_path.open("rb") as file:  # np.load would do, at a tenth of the time of the whole search
                mapped_ids = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            ids = np.frombuffer(mapped_ids, np.uint32, offset=_NPY_HEADER, count=flat.ntotal)
            if len(mapped_ids) != _NPY_HEADER + ids.nbytes + _TRAILER.size:
                return None
            if not all(_is_whole(path, generation) for path in (codes_path, ids_path)):
                return None  # replaced while we opened them
        except (OSError, ValueError, RuntimeError):
            return None
        return cls(flat, ids) if flat.d == bits else None

    def write(self, folder: Path, kind: Kind, generation: int) -> None:
        """Replace the derived files, each in one step. Raises OSError and leaves the old ones when that fails."""
        codes_path, ids_path = _paths(folder, kind)
        _replace(codes_path, generation, lambda temporary: faiss.write_index_binary(self._flat, str(temporary)))
        _replace(ids_path, generation, lambda temporary: _save(temporary, self._ids.astype(np.uint32)))

    def __len__(self) -> int:
        return int(self._flat.ntotal)

    def nearest(self, output: np.ndarray, k: int, rerank: int = 0, near: DistanceLimit | None = None) -> Neighbours:
        """The k nearest items to a query's float output [bits], by the Hamming distance of the codes.

        Equal distances are ordered by the asymmetric score, the query's float output times the item's -1 and +1, then
        by row. With `rerank`, the first so many candidates are ordered by that score alone. What is not `near` enough
        is no candidate.
        """
        return self.nearest_each(output[None], k, rerank, [near or DistanceLimit()])[0]

    def nearest_each(
        self, outputs: np.ndarray, k: int, rerank: int = 0, near: Sequence[DistanceLimit] | None = None
    ) -> list[Neighbours]:
        """`nearest` for each of many queries [queries, bits], on all cores."""
        k, rerank = min(k, len(self)), min(rerank, len(self))
        if k <= 0:
            return [Neighbours(np.empty(0, np.int64), np.empty(0, np.int64), -1) for _ in outputs]
        codes = pack(outputs)
        asked = min(max(k, rerank) + _MARGIN, len(self))
        with _threads(len(codes)):
            distances, rows = self._flat.search(codes, asked)
        queries = zip(outputs, codes, distances, rows, near or [DistanceLimit()] * len(outputs), strict=True)
        return [self._best(*query, k, rerank) for query in queries]

    def _best(
        self,
        output: np.ndarray,
        code: np.ndarray,
        distances: np.ndarray,
        rows: np.ndarray,
        near: DistanceLimit,
        k: int,
        rerank: int,
    ) -> Neighbours:
        if len(rows) < len(self) and distances[-1] == distances[k - 1]:  # more may tie with the k-th
            _, distances, rows = self._flat.range_search(code[None], int(distances[-1]) + 1)  # distance < radius
        smallest = int(distances.min())
        limit = near.limit(smallest)
        if limit is not None:
            distances, rows = distances[distances <= limit], rows[distances <= limit]
        scores = unpack(self._packed(rows)) @ output  # [candidates]
        best = np.lexsort((rows, -scores, distances))
        head = best[:rerank]
        best = np.concatenate([head[np.lexsort((rows[head], -scores[head]))], best[rerank:]])[:k]
        return Neighbours(self._ids[rows[best]].astype(np.int64), distances[best].astype(np.int64), smallest)

    def subset(self, wanted: np.ndarray) -> "Codes":
        """A copy of the rows with these ids, in memory."""
        rows = np.flatnonzero(np.isin(self._ids, wanted))
        return Codes.in_memory(self._ids[rows].astype(np.int64), self._packed(rows))

    def _packed(self, rows: np.ndarray) -> np.ndarray:
        """Packed codes uint8 [rows, bits / 8], without touching any others."""
        width = self._flat.code_size
        return faiss.rev_swig_ptr(self._flat.xb.data(), len(self) * width).reshape(-1, width)[rows]  # type: ignore[no-any-return]


def near_rows(codes: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each of the packed codes uint8 [n, bits / 8], the other rows within a Hamming distance, and their distances.

    Blocks of codes are compared with all, on all cores; memory is bounded by what is near a few blocks.
    """
    flat = faiss.IndexBinaryFlat(codes.shape[1] * 8)
    flat.add(codes)

    def search(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        faiss.omp_set_num_threads(1)  # holds for one thread; FAISS's own would wait for each other at every block
        return flat.range_search(codes[start : start + _NEAR_BLOCK], distance + 1)

    for start, found in prefetch(search, range(0, len(codes), _NEAR_BLOCK), look_ahead=2 * (os.cpu_count() or 1)):
        if isinstance(found, Exception):
            raise found
        bounds, distances, rows = found  # distance < radius
        for number, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
            others = rows[begin:end] != start + number
            yield rows[begin:end][others], distances[begin:end][others].astype(np.int64)


def _paths(folder: Path, kind: Kind) -> tuple[Path, Path]:
    stem = _STEMS[kind]
    return folder / f"{stem}.faiss", folder / f"{stem}.ids.npy"


def _is_whole(path: Path, generation: int, check_content: bool = False) -> bool:
    with path.open("rb") as file:
        file.seek(-_TRAILER.size, os.SEEK_END)
        length = file.tell()
        made_from, checksum = _TRAILER.unpack(file.read())
        return made_from == generation and (not check_content or _crc(file, length) == checksum)


def _replace(path: Path, generation: int, write: Callable[[Path], None]) -> None:
    """Write a file and its trailer under a temporary name, make sure it is on disk, and give it its name."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(temporary)
        with temporary.open("r+b") as file:
            checksum = _crc(file, temporary.stat().st_size)
            file.write(_TRAILER.pack(generation, checksum))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except RuntimeError as error:  # what FAISS raises in place of OSError
        raise OSError(errno.ENOSPC, "no space left on device, or an error in writing") from error
    finally:
        temporary.unlink(missing_ok=True)


def _crc(file: BinaryIO, length: int) -> int:
    """CRC-32 of the first `length` bytes; leaves the file positioned after them."""
    file.seek(0)
    checksum = 0
    while block := file.read(min(1 << 20, length - file.tell())):
        checksum = zlib.crc32(block, checksum)
    return checksum


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:  # np.save given a name would add .npy to it
        np.save(file, array)
