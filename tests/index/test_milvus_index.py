"""Which candidates a collection gives; no server is needed."""

import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hashcli.index.catalog import Kind
from hashcli.index.code_index import Candidates, MemoryCodeIndex
from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.filter import CompiledFilter
from hashcli.index.milvus_index import CollectionCodes
from hashcli.index.search import _RankedQuery, _Searched, _SearchOptions
from hashcli.index.words import Words


class AnyOfTheFarthest:
    """Finds as Milvus does: of rows as far away as the last that it gives, any may be left out."""

    def __init__(self, ids: np.ndarray, codes: np.ndarray) -> None:
        self.properties = SimpleNamespace(bits=8 * codes.shape[1])
        self.questions = 0
        self._ids, self._codes, self._rng = ids, codes, np.random.default_rng(0)

    def search(
        self, codes: np.ndarray, _: str, limit: int, distances: tuple[int, int] | None = None
    ) -> Iterator[Candidates]:
        self.questions += 1
        for code in codes:
            away = np.bitwise_count(self._codes ^ code).sum(1).astype(np.int64)
            order = np.lexsort((self._rng.random(len(away)), away))
            if distances:
                order = order[(away[order] >= distances[0]) & (away[order] < distances[1])]
            yield Candidates(self._ids[order[:limit]], away[order[:limit]], self._codes[order[:limit]])


def _nearest(codes: Any, queries: np.ndarray, k: int, reranked: int, *, all_copies: bool = False) -> list[Any]:
    options = _SearchOptions(k, [Kind.IMAGE], CompiledFilter(), None, reranked, all_copies, False, Words.OFF)
    ranked = {place: _RankedQuery(query, DistanceLimit(), None) for place, query in enumerate(queries)}
    found = _Searched(codes, options).nearest(ranked)
    return [(one.nearest_distance, one.ids.tolist()) for one in found.values()]


@pytest.mark.parametrize("distinct", [40, 3000])
def test_answers_do_not_depend_on_which_of_the_farthest_candidates_the_server_gives(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    codes = rng.integers(0, 256, (distinct, 4), dtype=np.uint8)[rng.integers(distinct, size=3000)]
    ids, queries = np.sort(rng.choice(10_000, 3000, replace=False)), rng.standard_normal((5, 32))
    collection = CollectionCodes(AnyOfTheFarthest(ids, codes), Kind.IMAGE, CompiledFilter())  # type: ignore[arg-type]
    for k, reranked, all_copies in itertools.product((1, 10, 300, 5000), (0, 7, 1000), (False, True)):
        expected = _nearest(MemoryCodeIndex(ids, codes), queries, k, reranked, all_copies=all_copies)
        assert _nearest(collection, queries, k, reranked, all_copies=all_copies) == expected, (k, reranked, all_copies)


def test_a_batch_is_one_question_unless_the_last_answers_may_be_incomplete() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (20_000, 32), dtype=np.uint8)
    server = AnyOfTheFarthest(np.arange(20_000), codes)
    collection = CollectionCodes(server, Kind.IMAGE, CompiledFilter())  # type: ignore[arg-type]
    _nearest(collection, rng.standard_normal((10, 256)), 10, 1000)
    assert server.questions == 1
