"""The field's Hamming-ranking metrics, each under a name that carries its convention.

The database is ranked by Hamming distance, and at equal distances by database row. The database must therefore be
shuffled before it is encoded: rows that are sorted by label give better values than the codes deserve. Queries are
taken in blocks, so that a database of 190,000 items fits in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hashcli.hashmodel.codes import unpack

NEIGHBOURS_FOUND = "recall@10 of the 10 nearest"  # of the teacher's, whose cosines decide what is nearest

_AT_ONCE = 3_000_000  # distances at a time, of a block of queries: some 150 MB
_BLOCK = 32  # queries at a time, where there are not too many items
_LAST_N = 1000  # of the precision@N curve, if the database is that large
_RANKS = 100  # points of the curves over all ranks
LOOKUP_RADIUS = 2  # of precision by hash lookup

PRECISION_WITHIN = "precision within Hamming radius"
PRECISION_WITHIN_FOUND = "precision within Hamming radius (of queries that find something)"
RECALL_WITHIN = "recall within Hamming radius"
POOLED_PRECISION_WITHIN = "precision within Hamming radius (pooled)"
POOLED_RECALL_WITHIN = "recall within Hamming radius (pooled)"
PRECISION_AT = "precision@N"
PRECISION_OVER_RANKS = "precision over ranks"
RECALL_OVER_RANKS = "recall over ranks"


class _Values(NamedTuple):
    """A metric [queries] or a curve [queries, points]: `values`, what `chance` gives, and how much each query counts.

    The mean is the sum of `values` by the sum of `weight`, and 0 where the latter is 0. A chance or weight that is the
    same at all points has one column.
    """

    values: np.ndarray
    chance: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class MetricValue:
    """A metric's mean over the queries, and the value expected of a random ranking."""

    name: str
    value: float
    chance: float


@dataclass(frozen=True)
class Curve:
    """A metric at each of the points `x`: its mean over the queries, and its value for as many items at random."""

    name: str
    x: list[int]
    values: list[float]
    chance: list[float]


@dataclass(frozen=True)
class Report:
    """All metrics of one direction, such as image to text."""

    metrics: list[MetricValue]
    curves: list[Curve]


def hamming_distances(queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Packed codes uint8 [q, bytes] and [n, bytes] to distances uint16 [q, n]."""
    distances = np.zeros((len(queries), len(database)), np.uint16)
    for byte in range(queries.shape[1]):
        distances += np.bitwise_count(queries[:, byte, None] ^ database[None, :, byte])
    return distances


def evaluate_labels(
    query_codes: np.ndarray,
    query_labels: np.ndarray,
    database_codes: np.ndarray,
    database_labels: np.ndarray,
    cuts: Sequence[int] = (50, 5000),
    precision_at: Sequence[int] = (1, 10, 50, 100, 500, 1000),
) -> Report:
    """Metrics where an item is relevant to a query when they share a label.

    Codes are packed uint8 [q, bytes] and [n, bytes]; labels are 0 or 1, [q, classes] and [n, classes]. `cuts` are the k
    of mAP@k. A query without a relevant item counts as 0 and stays in the mean, as in the public code of DCMH (Jiang
    and Li 2017) and those that follow it; in the mAP@all of UCCH (Hu et al. 2023) it is left out. Where a radius holds
    no item, its precision counts as 0, or the query is left out, as the name says. Pooled, all queries' items are put
    together before dividing: the precision that DCHMT's code (Tu et al. 2022) draws.
    """
    bits = 8 * query_codes.shape[1]
    metrics: dict[str, _Values] = {}  # sums over the queries so far
    curves: dict[str, _Values] = {}
    query_labels, database_labels = query_labels.astype(np.float32), database_labels.astype(np.float32).T
    for block in _blocks(len(query_codes), len(database_codes)):
        distances = hamming_distances(query_codes[block], database_codes)
        relevant = query_labels[block] @ database_labels > 0  # [block, n]
        ranked = Ranked(np.take_along_axis(relevant, np.argsort(distances, axis=1, kind="stable"), axis=1))
        items, hits = _by_distance(distances, relevant, bits)  # [block, bits + 1] each
        _add(metrics, _metrics(ranked, items, hits, cuts, precision_at))
        _add(curves, _curves(ranked, items, hits))
    points = _curve_points(bits, len(database_codes))
    return Report(
        [MetricValue(name, *map(float, _means(sums))) for name, sums in metrics.items()],
        [Curve(name, points[name].tolist(), *(one.tolist() for one in _means(sums))) for name, sums in curves.items()],
    )


def _means(sums: _Values) -> tuple[np.ndarray, np.ndarray]:
    """The mean value and the mean chance, of the sums over all queries."""
    weight = np.broadcast_to(sums.weight, sums.values.shape)
    values, chance = (np.where(weight > 0, of / np.maximum(weight, 1), 0) for of in (sums.values, sums.chance))
    return values, chance


def _metrics(
    ranked: "Ranked", items: np.ndarray, hits: np.ndarray, cuts: Sequence[int], precision_at: Sequence[int]
) -> dict[str, _Values]:
    """Each metric of a block of queries. `items` and `hits` [q, bits + 1] count the items, and the relevant ones, at
    each distance.
    """
    n, relevant = ranked.items, ranked.relevant
    chance, every = chance_of_average_precision(relevant, n), np.ones(len(relevant))
    precision = ranked.average_precision()
    values = {
        "mAP@all": _Values(precision, chance, every),
        "mAP@all (mean over ties)": _Values(tie_averaged_precision(items, hits), chance, every),
        "mAP@all (answerable queries, UCCH)": _Values(precision, chance, relevant > 0),
    }
    for k in cuts:
        values[f"mAP@{k} (cut, DJSRH)"] = _Values(
            ranked.average_precision(k), chance_of_cut_average_precision(relevant, n, k), every
        )
        values[f"mAP@{k} (first {k} relevant, DCHMT)"] = _Values(
            ranked.first_relevant_precision(k), chance_of_first_relevant_precision(relevant, n, k), every
        )
    for k in precision_at:
        if k <= n:
            values[f"precision@{k}"] = _Values(ranked.hits[:, k - 1] / k, relevant / n, every)
    near, near_hits = (counts[:, : LOOKUP_RADIUS + 1].sum(axis=1) for counts in (items, hits))
    values[f"precision within radius {LOOKUP_RADIUS} (0 if empty)"] = _Values(
        near_hits / np.maximum(near, 1), relevant / n * (near > 0), every
    )
    return values


def _curves(ranked: "Ranked", items: np.ndarray, hits: np.ndarray) -> dict[str, _Values]:
    """Each curve of a block of queries, at the points of `_curve_points`. The arguments are those of `_metrics`."""
    n, hits_at = ranked.items, ranked.hits
    first, ranks = np.arange(1, min(_LAST_N, n) + 1), _ranks(n)
    within, hits_within = items.cumsum(axis=1), hits.cumsum(axis=1)
    relevant, every = ranked.relevant[:, None], np.ones((len(hits_at), 1))
    share = relevant / n
    precision, found = hits_within / np.maximum(within, 1), within > 0
    recall, some = hits_at[:, ranks - 1] / np.maximum(relevant, 1), share > 0
    return {
        PRECISION_WITHIN: _Values(precision, share * found, every),
        RECALL_WITHIN: _Values(hits_within / np.maximum(relevant, 1), within / n * some, every),
        PRECISION_AT: _Values(hits_at[:, : len(first)] / first, share, every),
        PRECISION_WITHIN_FOUND: _Values(precision, share * found, found),
        POOLED_PRECISION_WITHIN: _Values(hits_within, share * within, within),
        POOLED_RECALL_WITHIN: _Values(hits_within, share * within, relevant),
        PRECISION_OVER_RANKS: _Values(hits_at[:, ranks - 1] / ranks, share, every),
        RECALL_OVER_RANKS: _Values(recall, ranks / n * some, every),
    }


def _curve_points(bits: int, n: int) -> dict[str, np.ndarray]:
    radii, ranks = np.arange(bits + 1), _ranks(n)
    by_radius = (PRECISION_WITHIN, RECALL_WITHIN, PRECISION_WITHIN_FOUND, POOLED_PRECISION_WITHIN, POOLED_RECALL_WITHIN)
    return dict.fromkeys(by_radius, radii) | {
        PRECISION_AT: np.arange(1, min(_LAST_N, n) + 1),
        PRECISION_OVER_RANKS: ranks,
        RECALL_OVER_RANKS: ranks,
    }


def _ranks(n: int) -> np.ndarray:
    """Ranks from 1 to n, close together where they are small."""
    return np.unique(np.geomspace(1, n, _RANKS).round().astype(np.int64))


def mean_average_precision(
    query_codes: np.ndarray, query_labels: np.ndarray, database_codes: np.ndarray, database_labels: np.ndarray
) -> float:
    """mAP@all as in `evaluate_labels`, without the other metrics and so in less time, to watch during training."""
    query_labels, database_labels = query_labels.astype(np.float32), database_labels.astype(np.float32).T
    total = 0.0
    for block in _blocks(len(query_codes), len(database_codes)):
        order = np.argsort(hamming_distances(query_codes[block], database_codes), axis=1, kind="stable")
        relevant = query_labels[block] @ database_labels > 0
        total += Ranked(np.take_along_axis(relevant, order, axis=1)).average_precision().sum()
    return total / len(query_codes)


def evaluate_pairs(
    query_codes: np.ndarray,
    query_items: np.ndarray,
    database_codes: np.ndarray,
    database_items: np.ndarray,
    recall_at: Sequence[int] = (1, 5, 10),
) -> Report:
    """Recall@k: the share of queries that have an item of their own among the first k, as a caption has its photo.

    Codes are packed uint8 [q, bytes] and [n, bytes]. A query and an item belong together where `query_items` [q] and
    `database_items` [n] are equal: five captions of a photo have its number, and so has the photo. A query without an
    item of its own finds none.
    """
    best = []  # the rank from 0 of each query's first own item; max(recall_at) where it has none
    own_items = []
    for block in _blocks(len(query_codes), len(database_codes)):
        own = query_items[block, None] == database_items[None]  # [block, n]
        order = np.argsort(hamming_distances(query_codes[block], database_codes), axis=1, kind="stable")
        own_items.append(own.sum(axis=1))
        first = np.take_along_axis(own, order, axis=1).argmax(axis=1)
        best.append(np.where(own_items[-1] > 0, first, max(recall_at)))
    ranks, counts, n = np.concatenate(best), np.concatenate(own_items), len(database_codes)
    return Report(
        [
            MetricValue(f"recall@{k}", float((ranks < k).mean()), float(chance_of_recall(counts, n, k).mean()))
            for k in recall_at
        ],
        [],
    )


def evaluate_neighbours(
    query_outputs: np.ndarray,
    query_features: np.ndarray,
    database_codes: np.ndarray,
    database_features: np.ndarray,
    k: int = 10,
) -> Report:
    """How many of the 10 items nearest to a query by the cosine of features are among the first 10 by codes.

    `query_outputs` float [q, bits] are those before the sign, and `database_codes` are packed, uint8 [n, bytes]. Items
    are ordered by the asymmetric score, the outputs times the item's -1 and +1, as a search orders its first thousand;
    at equal scores, by database row. Features are of unit length, [q, width] and [n, width]. Of fewer
    than 10 items all are found, by chance too.
    """
    signs, first = unpack(database_codes), min(10, len(database_codes))
    shares = []
    for block in _blocks(len(query_outputs), len(database_codes)):
        by_cosine = np.argsort(-(query_features[block] @ database_features.T), axis=1, kind="stable")[:, :first]
        by_codes = np.argsort(-(query_outputs[block] @ signs.T), axis=1, kind="stable")[:, :first]
        shares.append((by_cosine[:, :, None] == by_codes[:, None]).any(axis=2).mean(axis=1))
    return Report([MetricValue(NEIGHBOURS_FOUND, float(np.concatenate(shares).mean()), first / len(signs))], [])


class Ranked:
    """Rankings of n items for q queries, from bool [q, n]: which items are relevant, best first.

    `hits` int32 [q, n] counts the relevant items among the first, and `relevant` [q] all of them.
    """

    def __init__(self, is_relevant: np.ndarray) -> None:
        self.items = is_relevant.shape[1]
        self.hits = is_relevant.cumsum(axis=1, dtype=np.int32)
        self.relevant = self.hits[:, -1].astype(np.int64)
        # The precision at the rank of each relevant item, and 0 elsewhere.
        self._precision = np.where(is_relevant, self.hits / np.arange(1, self.items + 1), 0)

    def average_precision(self, k: int | None = None) -> np.ndarray:
        """The mean of the precision at the rank of each relevant item, [q].

        Over the whole ranking this is the AP of mAP@all; over the first k, that of mAP@k as in DJSRH (Su et al., ICCV
        2019).
        """
        last = self.items if k is None else min(k, self.items)
        return np.asarray(self._precision[:, :last].sum(axis=1) / np.maximum(self.hits[:, last - 1], 1))

    def first_relevant_precision(self, k: int) -> np.ndarray:
        """The AP of mAP@k as in the code of DCHMT: over the first k relevant items, whatever their rank, [q]."""
        total = np.where(self.hits <= k, self._precision, 0).sum(axis=1)
        return np.asarray(total / np.clip(self.relevant, 1, k))


def tie_averaged_precision(items: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Average precision expected when equal distances are ordered at random (McSherry and Najork, ECIR 2008), [q].

    `items` and `hits` [q, distances] count the items, and the relevant ones, at each distance.
    """
    before, hits_before = items.cumsum(axis=1) - items, hits.cumsum(axis=1) - hits
    harmonic = np.concatenate([[0.0], (1 / np.arange(1, items.sum(axis=1).max(initial=0) + 1)).cumsum()])
    inverse_ranks = harmonic[before + items] - harmonic[before]  # sum of 1 / rank over the ranks of a tie
    others = (hits - 1) / np.maximum(items - 1, 1)  # the chance that another of the tie is relevant, given that one is
    expected = (hits_before + 1) * inverse_ranks + others * (items - (before + 1) * inverse_ranks)
    total = (np.where(hits > 0, hits / np.maximum(items, 1), 0) * expected).sum(axis=1)
    return np.asarray(total / np.maximum(hits.sum(axis=1), 1))


def chance_of_average_precision(relevant: np.ndarray, n: int) -> np.ndarray:
    """Average precision expected of a random order of n items, `relevant` [q] of which are relevant: a single tie."""
    return tie_averaged_precision(np.full((len(relevant), 1), n), relevant[:, None])


def chance_of_cut_average_precision(relevant: np.ndarray, n: int, k: int) -> np.ndarray:
    """The same for the first k of a random order. How many relevant items these hold is hypergeometric."""
    k = min(k, n)
    count = np.arange(k + 1)
    given_count = np.where(count > 0, chance_of_average_precision(count, k), 0)
    return np.array([(_hypergeometric(n, int(total), k) * given_count).sum() for total in relevant])


def chance_of_first_relevant_precision(relevant: np.ndarray, n: int, k: int) -> np.ndarray:
    """The same for the first k relevant items of a random order, whatever their rank. The derivation is ours."""
    all_of_them = chance_of_average_precision(relevant, n)
    return np.array(
        [_chance_of_first(int(total), n, k) if total > k else all_of_them[i] for i, total in enumerate(relevant)]
    )


@lru_cache(maxsize=100_000)  # the same for each code length
def _chance_of_first(relevant: int, n: int, k: int) -> float:
    """The average precision over the first k of more than k relevant items, expected of a random order of n.

    Sums over the ranks: given a relevant item there, with H other relevant ones before it, the mean of (1 + H) where
    H < k. By symmetry, the mean of H where H < k is the number of items before, times the chance that a certain one of
    them is relevant, times the chance that at most k - 2 of the others are.
    """
    before = np.arange(n)
    at_most_k_1 = _chance_of_at_most(n, n - 1, relevant - 1, k - 1)
    at_most_k_2 = np.concatenate([[0.0], _chance_of_at_most(n, n - 2, relevant - 2, k - 2)])[:n]
    hits = at_most_k_1 + before * (relevant - 1) / max(n - 1, 1) * at_most_k_2
    return float((relevant / n * hits / (before + 1)).sum() / k)


def _chance_of_at_most(n: int, total: int, relevant: int, most: int) -> np.ndarray:
    """The chance that the first 0..`total` items of a random order of `total` hold at most `most` relevant ones.

    `relevant` is more than `most`. `n`, at least `total`, chooses the table of factorials, which is kept for the next.
    """
    if most < 0:
        return np.zeros(total + 1)
    log_factorial = _log_factorials(n)
    after = relevant - most - 1  # relevant items behind the first one that is too many
    place = np.arange(most + 1, total - after + 1)  # of that one: C(place - 1, most) C(total - place, after) orders
    chance_of_place = np.zeros(total + 1)
    log_ways = _log_choose(log_factorial, place - 1, most) + _log_choose(log_factorial, total - place, after)
    chance_of_place[place] = np.exp(log_ways - _log_choose(log_factorial, total, relevant))
    return np.asarray(1 - chance_of_place.cumsum())


def chance_of_recall(own: np.ndarray, n: int, k: int) -> np.ndarray:
    """The chance that the first k of a random order of n hold one of a query's own items, whose number is `own` [q]."""
    return np.array([1 - _hypergeometric(n, int(count), min(k, n))[0] for count in own])


def _hypergeometric(n: int, relevant: int, drawn: int) -> np.ndarray:
    """The probability of each count 0..`drawn` of relevant items when `drawn` of n are taken at random."""
    log_factorial = _log_factorials(n)
    count = np.arange(drawn + 1)
    possible = count[(count <= relevant) & (drawn - count <= n - relevant)]
    probability = np.zeros(drawn + 1)
    log_ways = _log_choose(log_factorial, relevant, possible)
    log_ways = log_ways + _log_choose(log_factorial, n - relevant, drawn - possible)
    probability[possible] = np.exp(log_ways - _log_choose(log_factorial, n, drawn))
    return probability


def _log_choose(log_factorial: np.ndarray, n: np.ndarray | int, k: np.ndarray | int) -> np.ndarray:
    """log(n choose k), from the table of `_log_factorials`."""
    return np.asarray(log_factorial[n] - log_factorial[k] - log_factorial[n - k])


@lru_cache(maxsize=1)
def _log_factorials(n: int) -> np.ndarray:
    """log(i!) for i of 0..n."""
    return np.concatenate([[0.0], np.log(np.arange(1, n + 1)).cumsum()])


def _by_distance(distances: np.ndarray, relevant: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """How many items, and how many relevant ones, each query has at each distance: int [q, bits + 1] each."""
    shape = (len(distances), bits + 1)
    cells = distances + np.arange(len(distances))[:, None] * (bits + 1)
    items = np.bincount(cells.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    hits = np.bincount(cells[relevant], minlength=shape[0] * shape[1]).reshape(shape)
    return items, hits


def _add(totals: dict[str, _Values], block: dict[str, _Values]) -> None:
    """Add a block's values to the sums over all queries."""
    for name, of_block in block.items():
        sums = _Values(*(one.sum(axis=0) for one in of_block))
        totals[name] = _Values(*(a + b for a, b in zip(totals[name], sums, strict=True))) if name in totals else sums


def _blocks(queries: int, items: int) -> Iterator[slice]:
    size = max(1, min(_BLOCK, _AT_ONCE // max(items, 1)))
    for start in range(0, queries, size):
        yield slice(start, start + size)
