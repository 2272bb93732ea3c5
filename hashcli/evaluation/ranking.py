"""The field's Hamming-ranking metrics, each under a name that carries its convention.

The database is ranked by Hamming distance, equal distances by database row: shuffle the database once before it is
encoded, or rows sorted by label will flatter. Queries are taken a block at a time, so that a database of 190,000 fits.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_BLOCK = 32  # queries at a time: with 190,000 items, some 150 MB
_CURVE_TO = 1000  # the last N of the precision@N curve, where the database holds as many


@dataclass(frozen=True)
class MetricValue:
    """A metric's mean over all queries, and what a ranking at random is expected to give."""

    name: str
    value: float
    chance: float


@dataclass(frozen=True)
class Curve:
    """A metric along `x`, at each point the mean over all queries and what chance gives: as many items, any items."""

    name: str
    x: list[int]
    values: list[float]
    chance: list[float]


@dataclass(frozen=True)
class Report:
    """All metrics of one direction."""

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
    """Metrics for items that are relevant to a query when they share a label.

    Codes are packed uint8 [q, bytes] and [n, bytes]; labels are 0 or 1, [q, classes] and [n, classes]. A query without
    a relevant item counts as 0 and stays in the mean, as in the public code of DCMH and those that follow it. So does
    the precision within a radius that holds nothing.
    """
    n, bits = len(database_codes), 8 * query_codes.shape[1]
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))  # name: value and chance, over all queries
    radii, first = np.arange(bits + 1), np.arange(1, min(_CURVE_TO, n) + 1)
    curves = {  # name: x, and value and chance at each, over all queries
        "precision within Hamming radius": (radii, np.zeros((2, bits + 1))),
        "recall within Hamming radius": (radii, np.zeros((2, bits + 1))),
        "precision@N": (first, np.zeros((2, len(first)))),
    }
    wanted, held = query_labels.astype(np.float32), database_labels.astype(np.float32).T

    for block in _blocks(len(query_codes)):
        distances = hamming_distances(query_codes[block], database_codes)
        relevant = wanted[block] @ held > 0  # [block, n]
        ranked = np.take_along_axis(relevant, np.argsort(distances, axis=1, kind="stable"), axis=1)
        items, hits = _by_distance(distances, relevant, bits)  # [block, bits + 1] each
        found = relevant.sum(axis=1)
        chance = chance_of_average_precision(found, n)
        measured = {
            "mAP@all": (average_precision(ranked), chance),
            "mAP@all (mean over ties)": (tie_averaged_precision(items, hits), chance),
        }
        for k in cuts:
            cut = ranked[:, :k]
            measured[f"mAP@{k} (cut, DJSRH)"] = average_precision(cut), chance_of_cut_average_precision(found, n, k)
            measured[f"mAP@{k} (first {k} relevant, DCHMT)"] = (
                first_relevant_precision(ranked, k),
                chance_of_first_relevant_precision(found, n, k),
            )
        for k in precision_at:
            if k <= n:
                measured[f"precision@{k}"] = ranked[:, :k].mean(axis=1), found / n
        for name, (values, at_random) in measured.items():
            sums[name] += values.sum(), at_random.sum()
        items_within, hits_within = items.cumsum(axis=1), hits.cumsum(axis=1)
        share = (found / n)[:, None]
        along = {
            "precision within Hamming radius": (hits_within / np.maximum(items_within, 1), share * (items_within > 0)),
            "recall within Hamming radius": (
                hits_within / np.maximum(found, 1)[:, None],
                items_within / n * (share > 0),
            ),
            "precision@N": (ranked[:, : len(first)].cumsum(axis=1) / first, share),
        }
        for name, both in along.items():
            for total, values in zip(curves[name][1], both, strict=True):
                total += values.sum(axis=0)

    queries = len(query_codes)
    return Report(
        [MetricValue(name, float(value) / queries, float(chance) / queries) for name, (value, chance) in sums.items()],
        [Curve(name, x.tolist(), *(total / queries).tolist()) for name, (x, total) in curves.items()],
    )


def mean_average_precision(
    query_codes: np.ndarray, query_labels: np.ndarray, database_codes: np.ndarray, database_labels: np.ndarray
) -> float:
    """mAP@all as in `evaluate_labels`, alone and so in less time, to be watched during training."""
    wanted, held = query_labels.astype(np.float32), database_labels.astype(np.float32).T
    total = 0.0
    for block in _blocks(len(query_codes)):
        order = np.argsort(hamming_distances(query_codes[block], database_codes), axis=1, kind="stable")
        total += average_precision(np.take_along_axis(wanted[block] @ held > 0, order, axis=1)).sum()
    return total / len(query_codes)


def evaluate_pairs(
    query_codes: np.ndarray,
    query_items: np.ndarray,
    database_codes: np.ndarray,
    database_items: np.ndarray,
    recall_at: Sequence[int] = (1, 5, 10),
) -> Report:
    """Recall@k, the share of queries with one of their own items among the first k: captions and their photos.

    Codes are packed uint8 [q, bytes] and [n, bytes]; `query_items` [q] and `database_items` [n] name what belongs
    together: five captions of a photo have its number, and so has the photo. A query without an own item finds none.
    """
    best = []  # the rank of each query's first own item, from 0; without one, none that counts
    own_items = []
    for block in _blocks(len(query_codes)):
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


def average_precision(ranked: np.ndarray) -> np.ndarray:
    """bool [q, n], best first, to [q]: the mean, over the relevant items in it, of the precision at each one's rank.

    Over a whole ranking this is the AP of mAP@all; over the first k, that of mAP@k as DJSRH counts it.
    """
    precision = ranked.cumsum(axis=1) / np.arange(1, ranked.shape[1] + 1)
    return np.asarray((precision * ranked).sum(axis=1) / np.maximum(ranked.sum(axis=1), 1))


def first_relevant_precision(ranked: np.ndarray, k: int) -> np.ndarray:
    """The AP of mAP@k as DCHMT's code counts it: over the first k relevant items, at whatever rank. [q, n] to [q]."""
    return average_precision(ranked & (ranked.cumsum(axis=1) <= k))


def tie_averaged_precision(items: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Average precision expected when equal distances are ordered at random (McSherry and Najork, ECIR 2008).

    `items` and `hits` [q, distances] count the items, and the relevant ones, at each distance; to [q].
    """
    before, hits_before = items.cumsum(axis=1) - items, hits.cumsum(axis=1) - hits
    harmonic = np.concatenate([[0.0], (1 / np.arange(1, items.sum(axis=1).max(initial=0) + 1)).cumsum()])
    inverse_ranks = harmonic[before + items] - harmonic[before]  # sum of 1 / rank over the ranks of a tie
    others = (hits - 1) / np.maximum(items - 1, 1)  # the chance that another of the tie is relevant, given one is
    expected = (hits_before + 1) * inverse_ranks + others * (items - (before + 1) * inverse_ranks)
    total = (np.where(hits > 0, hits / np.maximum(items, 1), 0) * expected).sum(axis=1)
    return np.asarray(total / np.maximum(hits.sum(axis=1), 1))


def chance_of_average_precision(relevant: np.ndarray, n: int) -> np.ndarray:
    """The average precision expected of a random order of n items, [q] of which are relevant: one tie of them all."""
    return tie_averaged_precision(np.full((len(relevant), 1), n), relevant[:, None])


def chance_of_cut_average_precision(relevant: np.ndarray, n: int, k: int) -> np.ndarray:
    """The same for the first k of a random order: over how many relevant items those k may hold (hypergeometric)."""
    k = min(k, n)
    held = np.arange(k + 1)
    given_held = np.where(held > 0, chance_of_average_precision(held, k), 0)
    return np.array([(_hypergeometric(n, int(found), k) * given_held).sum() for found in relevant])


def chance_of_first_relevant_precision(relevant: np.ndarray, n: int, k: int) -> np.ndarray:
    """The same over the first k relevant items of a random order, at whatever rank."""
    few = chance_of_average_precision(relevant, n)
    return np.array([_first_of(int(found), n, k) if found > k else few[i] for i, found in enumerate(relevant)])


@lru_cache(maxsize=100_000)  # the same for each bit length
def _first_of(marked: int, n: int, k: int) -> float:
    """At each rank: given a relevant item there, with H others before it, the mean of (1 + H) where H < k.

    The mean of H is how often a certain other one is before it, with fewer than k - 1 besides.
    """
    before = np.arange(n)
    fewer = _at_most(n, n - 1, marked - 1, k - 1)
    besides = np.concatenate([[0.0], _at_most(n, n - 2, marked - 2, k - 2)])[:n]
    hits = fewer + before * (marked - 1) / max(n - 1, 1) * besides
    return float((marked / n * hits / (before + 1)).sum() / k)


def _at_most(n: int, total: int, marked: int, held: int) -> np.ndarray:
    """The probability that the first 0..total of a random order hold at most `held` of `marked`, which are more."""
    if held < 0:
        return np.zeros(total + 1)
    log_factorial = _log_factorials(n)
    after = marked - held - 1  # behind the one that is too many
    place = np.arange(held + 1, total - after + 1)  # where that one stands: C(place - 1, held) C(total - place, after)

    def log_choose(a: np.ndarray, b: int) -> np.ndarray:
        return np.asarray(log_factorial[a] - log_factorial[b] - log_factorial[a - b])

    stands = np.zeros(total + 1)
    log_ways = log_choose(place - 1, held) + log_choose(total - place, after)
    stands[place] = np.exp(log_ways - log_choose(np.array(total), marked))
    return np.asarray(1 - stands.cumsum())


def chance_of_recall(own: np.ndarray, n: int, k: int) -> np.ndarray:
    """The chance that the first k of a random order of n hold one of [q] own items."""
    return np.array([1 - _hypergeometric(n, int(count), min(k, n))[0] for count in own])


def _hypergeometric(n: int, marked: int, drawn: int) -> np.ndarray:
    """The probability of each count 0..drawn of marked ones when `drawn` of n are taken."""
    log_factorial = _log_factorials(n)

    def log_choose(a: int, b: np.ndarray) -> np.ndarray:
        return np.asarray(log_factorial[a] - log_factorial[b] - log_factorial[a - b])

    held = np.arange(drawn + 1)
    possible = held[(held <= marked) & (drawn - held <= n - marked)]
    probability = np.zeros(drawn + 1)
    log_ways = log_choose(marked, possible) + log_choose(n - marked, drawn - possible)
    probability[possible] = np.exp(log_ways - log_choose(n, np.array(drawn)))
    return probability


@lru_cache(maxsize=1)
def _log_factorials(n: int) -> np.ndarray:
    """log(i!) for i of 0..n."""
    return np.concatenate([[0.0], np.log(np.arange(1, n + 1)).cumsum()])


def _by_distance(distances: np.ndarray, relevant: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """How many items, and how many relevant ones, each query has at each distance: two of int [q, bits + 1]."""
    shape = (len(distances), bits + 1)
    cells = distances + np.arange(len(distances))[:, None] * (bits + 1)
    items = np.bincount(cells.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    hits = np.bincount(cells[relevant], minlength=shape[0] * shape[1]).reshape(shape)
    return items, hits


def _blocks(queries: int) -> Iterator[slice]:
    for start in range(0, queries, _BLOCK):
        yield slice(start, start + _BLOCK)
