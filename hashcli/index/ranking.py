"""From the candidates of a code index to the answers to one query: their order, and how far away they may be."""

import math
from typing import NamedTuple

import numpy as np

from hashcli.hashmodel.codes import unpack
from hashcli.index.code_index import Candidates
from hashcli.index.distance_limit import DistanceLimit

RERANKED = 1000  # at most so many of the nearest items are ordered anew by the finer asymmetric score


class Neighbours(NamedTuple):
    """The items near a query, best first: their ids int64 [n], Hamming distances in bits int64 [n], and packed codes
    uint8 [n, bits / 8].

    `nearest_distance` is that of the nearest item of all, even if it is too far away to be an answer; None without
    items. The first `by_words` of them come first for words that stand in or beside them. The last `may_be_copies` are
    no answers by themselves: they have a code of the others, and are to be counted if they are identical copies.
    """

    ids: np.ndarray
    distances: np.ndarray
    codes: np.ndarray
    nearest_distance: int | None
    by_words: int = 0
    may_be_copies: int = 0

    def in_order_of_ids(self) -> "Neighbours":
        """Without distances, as the query is nowhere."""
        order = np.argsort(self.ids)
        return Neighbours(self.ids[order], np.full(len(order), NO_DISTANCE), self.codes[order], None)

    def rows(self, rows: np.ndarray) -> "Neighbours":
        """Those in some rows."""
        return self._replace(ids=self.ids[rows], distances=self.distances[rows], codes=self.codes[rows])

    def first(self, k: int) -> "Neighbours":
        """The k best."""
        return self._replace(ids=self.ids[:k], distances=self.distances[:k], codes=self.codes[:k])

    def with_first_codes(self, k: int) -> "Neighbours":
        """All that have one of the k best codes that differ: the k best photos, with all copies of them, are among
        these, as copies have the same code."""
        keys = self._keys()
        wanted = set[bytes]()
        for key in keys:
            wanted.add(key)
            if len(wanted) == k:
                break
        return self.rows(np.array([row for row, key in enumerate(keys) if key in wanted], int))

    def count_codes(self) -> int:
        """How many codes they have that differ."""
        return len(set(self._keys()))

    def _keys(self) -> list[bytes]:
        codes = np.ascontiguousarray(self.codes)
        return codes.view(f"V{codes.shape[1]}")[:, 0].tolist() if len(codes) else []


NO_DISTANCE = -1  # in the place of a distance from a query that is nowhere, as the hash model knows no word of it
NOTHING = Neighbours(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0), np.uint8), None)


def rank(
    candidates: Candidates,
    output: np.ndarray,
    reranked: int,
    limit: DistanceLimit,
    evidence: np.ndarray | None = None,
) -> Neighbours:
    """The candidates for a query's float output [bits], best first.

    They are ordered by Hamming distance, equal distances by the asymmetric score (the query's output times the item's
    -1 and +1, and the `evidence` of words, float64 [candidates], times the length of the output), then by id. The first
    `reranked` of them are then ordered by that score alone, but for those as far away as the next one: of these, more
    may be there than candidates, and the order must not depend on how many were asked for. That takes more than
    `reranked` candidates, if there are as many. Candidates beyond the limit are left out first.
    """
    ids, distances, codes = candidates
    if not len(ids):
        return Neighbours(ids, distances, codes, None)
    nearest = int(distances.min())
    largest = limit.largest(nearest)
    # Not by @, which rounds the score of a row differently at another place among others.
    scores = np.einsum("ij,j->i", unpack(codes), output)  # [candidates]
    if evidence is not None:
        scores = scores + evidence * np.linalg.norm(output)
    if largest is not None:
        near = distances <= largest
        ids, distances, codes, scores = ids[near], distances[near], codes[near], scores[near]
    order = np.lexsort((ids, -scores, distances))
    head = order[:reranked]
    if len(order) > reranked:
        head = head[distances[head] < distances[order[reranked]]]
    best = np.concatenate([head[np.lexsort((ids[head], -scores[head]))], order[len(head) :]])
    return Neighbours(ids[best], distances[best], codes[best], nearest)


def before(first: Neighbours, others: Neighbours) -> Neighbours:
    """Both, where those of the first come before the others."""
    if not len(first.ids):
        return others
    rest = np.flatnonzero(~np.isin(others.ids, first.ids))
    if not len(rest):
        return first._replace(nearest_distance=others.nearest_distance, by_words=len(first.ids))
    ids, distances, codes = (
        np.concatenate([mine, theirs[rest]]) for mine, theirs in zip(first[:3], others[:3], strict=True)
    )
    return Neighbours(ids, distances, codes, others.nearest_distance, len(first.ids), others.may_be_copies)


def reach(candidates: Candidates, k: int, count: int) -> float:
    """The distance up to which these candidates, of a `CodeIndex.search` with `k` and `count`, are all that there
    are."""
    if len(candidates.ids) < count:
        return math.inf
    ordered = np.sort(candidates.distances)
    return float(max(ordered[k - 1], ordered[-1] - 1))
