"""All pairs of near binary codes: by comparing every two where that is quick, and by tables of parts of them beyond."""

import math
import os
from collections.abc import Iterator

import faiss
import numpy as np

from hashcli.hashmodel.prefetch import prefetch

_BLOCK = 128  # codes that are compared with all others together
_EXACT = 20_000  # codes up to which every two are compared
_TABLE_BLOCK = 4096
_NEAR = 1 / 8  # of all bits: the distance at which `_RECALL` of the pairs are found
_RECALL = 0.98
_AT_ONCE = 1 << 22  # pairs that are compared together


def neighbours_within(
    codes: np.ndarray, distance: int, queries: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each packed query uint8 [q, bits / 8], all rows of the codes [n, bits / 8] within a Hamming distance, and
    their distances. Without queries, for each of the codes the others.

    Blocks of queries are compared with all, on all cores; memory is bounded by what is near a few blocks.
    """
    flat = faiss.IndexBinaryFlat(codes.shape[1] * 8)
    flat.add(codes)
    among = codes if queries is None else queries

    def search(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        faiss.omp_set_num_threads(1)  # holds for one thread; FAISS's own would wait for each other at every block
        return flat.range_search(among[start : start + _BLOCK], distance + 1)

    for start, found in prefetch(search, range(0, len(among), _BLOCK), look_ahead=2 * (os.cpu_count() or 1)):
        if isinstance(found, Exception):
            raise found
        bounds, distances, rows = found  # distance < radius
        for number, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
            near, away = rows[begin:end], distances[begin:end].astype(np.int64)
            others = near != start + number if queries is None else np.ones(len(near), bool)
            yield near[others], away[others]


def near_pairs(codes: np.ndarray, distance: int, queries: np.ndarray, *, is_exact: bool = False) -> np.ndarray:
    """Pairs int64 [p, 2], each once and its smaller row first, of codes [n, bytes] near one of the other's queries.

    The queries [n, q, bytes] are codes of the same things, changed a little. Up to 20,000 codes, all pairs within the
    distance are found; beyond, 98 % of those that differ in an eighth of the bits, more of those that are nearer and
    fewer of those that are further; unless all are wanted exactly, which takes a time that grows with the square of
    their number. The time grows little more than the number of codes then: see `_Tables`.
    """
    if not len(codes):
        return np.empty((0, 2), np.int64)
    count = queries.shape[1]
    flat_queries = np.ascontiguousarray(queries).reshape(-1, codes.shape[1])
    if is_exact or len(codes) <= _EXACT:
        found = [
            _pairs(np.full(len(rows), number // count), rows)
            for number, (rows, _) in enumerate(neighbours_within(codes, distance, flat_queries))
            if len(rows) > 1 or (len(rows) and rows[0] != number // count)
        ]
        return _unique(found, len(codes))
    tables = _Tables(codes)
    found = []
    for start in range(0, len(flat_queries), _TABLE_BLOCK):
        numbers, rows = tables.near(flat_queries[start : start + _TABLE_BLOCK], distance)
        found.append(_unique([_pairs((numbers + start) // count, rows)], len(codes)))
    return _unique(found, len(codes))


def _pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    others = first != second
    return np.sort(np.stack([first[others], second[others]], 1).astype(np.int64), axis=1)


def _unique(pairs: list[np.ndarray], count: int) -> np.ndarray:
    """The different ones of some pairs of numbers below `count`."""
    every = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    keys = np.unique(every[:, 0] * count + every[:, 1])
    return np.stack([keys // count, keys % count], 1)


class _Tables:
    """Codes by parts of their bits: near codes are the same in one of many parts, or differ there in one bit.

    Bit sampling (Indyk & Motwani, "Approximate nearest neighbors", STOC 1998) with one probe for each bit of a part
    (Lv et al., "Multi-probe LSH", VLDB 2007). A part has as many bits as the number of codes has, so that about one
    code comes up by chance for each probe, however many there are.
    """

    def __init__(self, codes: np.ndarray) -> None:
        bits = codes.shape[1] * 8
        self._words = _words(codes)
        self._size = min(math.ceil(math.log2(len(codes))), 24, bits)
        same = (1 - _NEAR) ** self._size
        found = same + self._size * _NEAR * same / (1 - _NEAR)
        tables = math.ceil(math.log(1 - _RECALL) / math.log(1 - found))
        rng = np.random.default_rng(0)
        self._parts = [rng.permutation(bits)[: self._size] for _ in range(tables)]
        self._orders, self._starts = [], []
        for part in self._parts:
            keys = self._keys(codes, part)
            self._orders.append(np.argsort(keys, kind="stable").astype(np.int32))
            counts = np.bincount(keys, minlength=1 << self._size)
            self._starts.append(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))

    def near(self, queries: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of queries and rows of codes, of pairs within the distance; a pair may come up several times."""
        words = _words(queries)
        flips = np.concatenate([[0], 1 << np.arange(self._size)])
        numbers, rows = [], []
        for part, order, starts in zip(self._parts, self._orders, self._starts, strict=True):
            probes = (self._keys(queries, part)[:, None] ^ flips).ravel()
            begins = starts[probes]
            counts = starts[probes + 1] - begins
            total = np.cumsum(counts, dtype=np.int64)
            begin = 0
            while begin < len(probes):
                done = total[begin - 1] if begin else 0
                end = max(begin + 1, int(np.searchsorted(total, done + _AT_ONCE)))
                some = counts[begin:end]
                offsets = np.arange(some.sum()) - np.repeat(np.cumsum(some) - some, some)
                near = order[np.repeat(begins[begin:end], some) + offsets]
                number = np.repeat(np.arange(begin, end) // len(flips), some)
                away = np.bitwise_count(words[number] ^ self._words[near]).sum(1, dtype=np.int64)
                numbers.append(number[away <= distance])
                rows.append(near[away <= distance])
                begin = end
        return np.concatenate(numbers), np.concatenate(rows).astype(np.int64)

    def _keys(self, codes: np.ndarray, part: np.ndarray) -> np.ndarray:
        keys = np.zeros(len(codes), np.int64)
        for place, bit in enumerate(part.tolist()):
            keys |= ((codes[:, bit // 8] >> (bit % 8)) & 1).astype(np.int64) << place
        return keys


def _words(codes: np.ndarray) -> np.ndarray:
    """Codes as uint64 [n, bits / 64]."""
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 8)))
    return np.ascontiguousarray(padded).view(np.uint64)
