"""Publishing indexes to a collection on a real Milvus server, and searching it."""

import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashcli.index.catalog import Catalog, FileState, IndexedModel, PhotoFacts
from hashcli.index.files.text_files import Text
from hashcli.index.filter import Filter
from hashcli.index.locations import IndexLocation
from hashcli.index.milvus_address import TOKEN_VARIABLE, MilvusAddress
from hashcli.index.publish import PublishOptions, publish
from hashcli.index.query import Query
from hashcli.index.ranking import DistanceLimit
from hashcli.index.search import Index, index_at
from hashcli.index.update import refresh_derived_files
from tests import milvus_server
from tests.milvus_server import MilvusServer

pytestmark = pytest.mark.skipif(not milvus_server.is_installed(), reason="needs a Milvus server: pip install '.[dev]'")

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    folder = tmp_path_factory.mktemp("milvus")
    server = MilvusServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, milvus_server.TOKEN)


@pytest.fixture
def address(server: MilvusServer) -> str:
    """Of a collection that is not there yet."""
    return server.address(f"test_{next(_NUMBERS)}")


def opened(address: str) -> Index:
    return index_at(IndexLocation(Path(), collection=MilvusAddress.parse(address)))


def make_index_with_ties(folder: Path, model: Path, count: int) -> Path:
    """An index of photos that are nowhere, and texts about some. Their codes are few, and so are the distances."""
    rng = np.random.default_rng(count)
    few = rng.integers(0, 256, (40, 8), dtype=np.uint8) & 0x11
    with Catalog.create_or_open(folder) as catalog:
        from hashcli.hashmodel.model import HashModel

        catalog.set_model(IndexedModel(str(model), HashModel(model).fingerprint, 64))
        with catalog.changing_items():
            for number in range(count):
                code, content = few[rng.integers(40)], rng.integers(count // 2).tobytes()
                code = few[content[0] % 40] if number % 3 else code
                day = None if number % 4 == 0 else 1_700_000_000 + int(rng.integers(400)) * 86_400
                name = f'{["a", "b_c", "ü 100%", chr(34)][number % 4]}/{number % 7}/p{number}.{["jpg", "PNG"][number % 2]}'
                place = (480_000_000 + int(rng.integers(10**7)), 20_000_000) if number % 5 == 0 else (None, None)
                path = str(folder.parent / "photos" / name)
                state = FileState(1, 1_600_000_000_000_000_000 + int(rng.integers(10**17)))
                catalog.add_photo(path, state, content, code, PhotoFacts(day, None if day is None else 1, 0, *place))
                if number % 6 == 0:
                    texts = [(Text(line, f"words {line % 2}", path), few[line].tobytes()) for line in (1, 2, 3)]
                    catalog.set_texts(path + ".txt", state, content, texts)
        refresh_derived_files(catalog, folder)
    return folder


def answers(index: Index, queries: list[Query], **options: Any) -> list[Any]:
    """Everything but what can differ: whether a file is there is not known of other machines."""
    found = index.search_many(queries, words="off", **options)
    return [
        (one.nearest_distance, one.why_none, [replace(row, machine=None, is_missing=False) for row in one])
        for one in found
    ]


def test_answers_are_those_of_a_local_index_in_the_same_order(tiny_model: Path, tmp_path: Path, address: str) -> None:
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, 3000)
    publish(folder, PublishOptions(address))
    rng = np.random.default_rng(0)
    queries = [Query(output=output) for output in rng.choice([-1.0, 1.0], (6, 64))]
    queries += [Query(output=output) for output in rng.standard_normal((6, 64))]
    photos = folder.parent / "photos"
    near = DistanceLimit()
    with Index(folder) as local, opened(address) as collection:
        for options in (
            {"k": 1},
            {"k": 10, "kinds": ["image", "text"]},
            {"k": 10, "reranked": 0},
            {"k": 100, "reranked": 7, "all_copies": True},
            {"k": 2000},
            {"k": 5000, "kinds": "text"},
            {"k": 20, "limit": DistanceLimit(max_distance=28)},
            {"k": 20, "limit": DistanceLimit(within=2), "sort": "date"},
            {"k": 50, "where": Filter(folders=[photos / "b_c"])},
            {"k": 50, "where": Filter(folders=[photos / '"' / "3", photos / "ü 100%"], types="png")},
            {"k": 50, "where": Filter(folders=[photos / "a/0/p0.jpg"]), "kinds": ["text", "image"]},
            {"k": 50, "where": Filter(folders=[photos / "no"])},
            {"k": 50, "where": Filter(after="2024-02-03", before="2024-08"), "kinds": ["image", "text"]},
            {"k": 50, "where": Filter(before="2023")},
            {"k": 50, "where": Filter(near="48.5,2,20km"), "kinds": ["image", "text"]},
        ):
            expected = answers(local, queries, **({"limit": near} | options))
            assert answers(collection, queries, **({"limit": near} | options)) == expected, options
