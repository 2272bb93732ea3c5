"""The order of answers is one order: how many are asked for changes nothing but how many of them are given."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashcli import DistanceLimit, Filter, Query
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel
from hashcli.index.catalog import NO_FACTS, Catalog, FileState, IndexedModel
from hashcli.index.code_index import MemoryCodeIndex
from hashcli.index.files.text_files import Text
from hashcli.index.ranking import rank
from hashcli.index.search import Index
from hashcli.index.update import refresh_derived_files

PHOTOS = 2000


@pytest.fixture(scope="module")
def opened(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index of photos that are nowhere, and a text about each. Many are equally near, half are copies, and
    some different photos have one code."""
    folder = tmp_path_factory.mktemp("photos") / "ix"
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (PHOTOS, 8), dtype=np.uint8)
    codes[::11] = codes[5]
    contents = np.arange(PHOTOS)
    for copy in range(1, PHOTOS, 2):
        contents[copy], codes[copy] = contents[copy // 3], codes[copy // 3]
    with Catalog.create_or_open(folder) as catalog:
        catalog.set_model(IndexedModel(str(tiny_model), HashModel(tiny_model).fingerprint, 64))
        with catalog.changing_items():
            for number in range(PHOTOS):
                name = f"{['dog', 'Oberstdorf', 'other', 'others'][number % 4]}/{number}.jpg"
                path = str(folder.parent / name)
                state, content = FileState(1, 10**18 + number), contents[number].tobytes()
                catalog.add_photo(path, state, content, codes[number], NO_FACTS)
                text = Text(1, f"words {number % 500}", path)
                catalog.set_texts(path + ".txt", state, content, [(text, codes[number % 700].tobytes())])
        refresh_derived_files(catalog, folder)
    with Index(folder) as index:
        yield index


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reranked": 0},
        {"reranked": 7},
        {"reranked": 300},
        {"all_copies": True},
        {"kinds": ["image", "text"]},
        {"limit": DistanceLimit(max_distance=27)},
        {"limit": DistanceLimit(within=9), "reranked": 100},
        {"where": Filter(types="jpg"), "reranked": 500},
    ],
    ids=str,
)
def test_the_first_k_are_the_first_of_more(opened: Index, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    queries: list[str | Query] = [Query(output=output) for output in rng.standard_normal((8, 64)).astype(np.float32)]
    queries += ["a dog", "a dog in Oberstdorf", "a cat", "Oberstdorf"]
    options = {"limit": DistanceLimit()} | options
    every = [list(results) for results in opened.search_many(queries, PHOTOS, **options)]
    for k in (8, 60, 1000):
        for results, of_all in zip(opened.search_many(queries, k, **options), every, strict=True):
            assert list(results) == [result for result in of_all if result.rank <= k]


def test_nearer_ones_of_the_first_are_ordered_anew() -> None:
    """By hand: the query is sure of bit 0 alone, which the nearest item misses. Of the three that are furthest away, a
    search may not find all, so they are ordered anew only if all of them are among the first."""
    output = np.array([9, 0.1, 0.1, 0.1] + [-0.1] * 12, np.float32)
    bits = [[0, 1, 1, 1], [1, 0, 0, 1], [1, 0, 1, 0], [1, 1, 0, 0]]
    codes = np.packbits([one + [0] * 12 for one in bits], axis=1, bitorder="little")
    (candidates,) = MemoryCodeIndex(np.arange(4), codes).search(pack(output[None]), 4, 4)
    for reranked, expected in ((0, [0, 1, 2, 3]), (1, [0, 1, 2, 3]), (3, [0, 1, 2, 3]), (4, [1, 2, 3, 0])):
        assert rank(candidates, output, reranked, DistanceLimit()).ids.tolist() == expected


def test_equal_codes_have_equal_scores_wherever_they_stand() -> None:
    rng = np.random.default_rng(2)
    codes = np.repeat(rng.integers(0, 256, (1, 32), dtype=np.uint8), 11, axis=0)
    for _ in range(20):
        output = rng.standard_normal(256).astype(np.float32)
        (candidates,) = MemoryCodeIndex(np.arange(11), codes).search(pack(output[None]), 11, 11)
        assert rank(candidates, output, 1000, DistanceLimit()).ids.tolist() == list(range(11))
