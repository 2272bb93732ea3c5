"""Searches with filters by the derived file, against the plain definition of a filter on a random catalog."""

import os
import random
import struct
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashcli import DistanceLimit, Filter, Query
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.registry import DEFAULT_MODEL, find_model
from hashcli.index.catalog import Catalog, FileState, FilterFields, IndexedModel, Kind, PhotoFacts
from hashcli.index.code_index import FaissCodeIndex
from hashcli.index.derived_files import TRAILER, write_file
from hashcli.index.files.paths import is_within
from hashcli.index.files.text_files import Text
from hashcli.index.filter_table import TABLE_NAMES, FilterTable
from hashcli.index.places import Place
from hashcli.index.search import DamagedSearchFilesError, Index
from hashcli.index.update import refresh_derived_files

COUNT = 400
PHOTO_FOLDERS = ["", "a", "a/b", "a b", "ab", "caf\u00e9", os.fsdecode(b"bad\xff")]


class RandomIndex:
    """Photos that are nowhere, in folders whose names begin alike, some dated and some not, and texts about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times: dict[str, tuple[int | None, int]] = {}
        self.places: dict[str, Place | None] = {}
        self.paths: dict[str, list[str]] = {"image": [], "text": []}  # of photos, and of what texts are about
        shuffled = random.Random(5)
        fingerprint = HashModel(find_model(DEFAULT_MODEL)).fingerprint
        with Catalog.create_or_open(folder / "ix") as catalog:
            catalog.set_model(IndexedModel(DEFAULT_MODEL, fingerprint, 256))
            with catalog.changing_items():
                for number in range(COUNT):
                    self._add(catalog, number, shuffled)
            refresh_derived_files(catalog, folder / "ix")

    def _add(self, catalog: Catalog, number: int, shuffled: random.Random) -> None:
        base = shuffled.choice([str(self.folder), "/elsewhere", "/"])
        name = f"{number}{shuffled.choice(['.jpg', '.JPEG', '.png', '', '.tar.gz'])}"
        path = os.path.join(base, shuffled.choice(PHOTO_FOLDERS), name)
        around = shuffled.choice([1_688_180_400, 1_699_164_000, 0, 1_600_000_000])  # in 2023, clocks are put back then
        moment = around + shuffled.randrange(-90_000, 90_000)
        taken = shuffled.choice([None, moment, 2**40])
        mtime_ns = shuffled.choice([0, moment * 10**9, moment * 10**9 - 1])
        places = [(None, None), (488_566_000, 23_522_000), (0, -1_799_000_000), (0, 1_799_000_000)]
        place = random.Random(number).choice(places)
        code = np.frombuffer(shuffled.randbytes(32), np.uint8)
        catalog.add_photo(path, FileState(1, mtime_ns), number.to_bytes(16), code, PhotoFacts(taken, None, 0, *place))
        self.places[path] = Place.from_stored(*place)
        self.times[path] = taken, mtime_ns
        self.paths["image"].append(path)
        captions = f"{self.folder}/captions {number}.csv"
        about = shuffled.choice([path, None])
        text = Text(1, "a text", about)
        catalog.set_texts(captions, FileState(1, moment * 10**9), number.to_bytes(16), [(text, code.tobytes())])
        self.times[captions] = None, moment * 10**9
        self.paths["text"].append(about or captions)

    def found(self, where: Filter, kind: Any) -> list[str]:
        """The paths of all that a search finds, or of the photos that the texts found are about."""
        with Index(self.folder / "ix") as index:
            query = Query(output=np.ones(256, np.float32))
            options: Any = {"kinds": kind, "where": where, "limit": DistanceLimit(), "all_copies": True}
            results = index.search(query, COUNT, **options)
            return sorted(result.photo or result.path for result in results)

    def takes(self, where: Filter, path: str) -> bool:
        """The definition of a filter."""
        folders = [os.fspath(folder) for folder in where.folders]  # type: ignore[union-attr]
        if folders and not any(is_within(path, folder) for folder in folders):
            return False
        if where.types and os.path.splitext(path)[1].lower().lstrip(".") not in where.types:
            return False
        if where.after is None and where.before is None:
            return True
        taken, mtime_ns = self.times[path]
        if taken is None and not mtime_ns:
            return False
        moment = mtime_ns / 1e9
        local = taken if taken is not None else moment + time.localtime(moment).tm_gmtoff
        after, before = (
            datetime.fromisoformat(f"{bound}+00:00").timestamp() if bound else None
            for bound in (where.after, where.before)
        )
        return (after is None or local >= after) and (before is None or local < before)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> RandomIndex:
    return RandomIndex(tmp_path_factory.mktemp("random").resolve())


@pytest.fixture(params=["UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati"])
def local_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


TIMES = [
    {"after": "2023-07-01T03:00:00"},
    {"before": "2023-07-01T03:00:00.5"},
    {"after": "2023-11-05T01:30:00", "before": "2023-11-05T02:10:00"},  # both come twice in New York
    {"after": "1970-01-01T00:00:00", "before": "1970-01-01T12:00:00"},
    {"after": "9999-12-31T00:00:00"},
]


@pytest.mark.parametrize("bounds", TIMES)
@pytest.mark.parametrize("kind", ["image", "text"])
def test_dates_hold_whatever_the_local_time(index: RandomIndex, local_time: None, bounds: Any, kind: str) -> None:
    where = Filter(**bounds)
    expected = sorted(path for path in index.paths[kind] if index.takes(where, path))
    assert index.found(where, kind) == expected
    assert "9999" in str(bounds) or 0 < len(expected) < COUNT


@pytest.mark.parametrize("kind", ["image", "text"])
@pytest.mark.parametrize(
    "folder", ["", "a", "a/b", "ab", "caf\u00e9", os.fsdecode(b"bad\xff"), "no", "a/b/", "/a", "/"]
)
@pytest.mark.parametrize("types", [(), ("png",), ("gz", "png")])
def test_folders_and_types(index: RandomIndex, folder: str, types: tuple[str, ...], kind: str) -> None:
    where = Filter([os.path.join(index.folder, folder), "/elsewhere/ab"], types)
    assert index.found(where, kind) == sorted(path for path in index.paths[kind] if index.takes(where, path))


@pytest.mark.parametrize("kind", ["image", "text"])
def test_a_single_file_in_place_of_a_folder(index: RandomIndex, kind: str) -> None:
    for path in [*index.paths["image"][::40], *index.paths["text"][::40]]:
        where = Filter([path])
        assert index.found(where, kind) == [path] * index.paths[kind].count(path)


@pytest.mark.parametrize("kind", ["image", "text"])
@pytest.mark.parametrize(
    ("near", "places"),
    [
        ("48.86,2.35,1km", {(48.8566, 2.3522)}),
        ("0,180,12km", {(0, 179.9), (0, -179.9)}),
        ("0,179.9,1m", {(0, 179.9)}),
        ("-48,2", set()),
        ("0,0,20100km", {(48.8566, 2.3522), (0, 179.9), (0, -179.9)}),
    ],
)
def test_places(index: RandomIndex, near: str, places: set[tuple[float, float]], kind: str) -> None:
    """A text is judged by the photo that it is about. What has no place is near nothing."""
    expected = sorted(path for path in index.paths[kind] if index.places.get(path) in places)
    assert index.found(Filter(near=near), kind) == expected
    assert bool(expected) == bool(places)
    of_type = [path for path in expected if path.endswith(".png")]
    assert index.found(Filter(near=near, types="png"), kind) == of_type


def test_without_places_the_file_has_none() -> None:
    fields = [FilterFields("a.jpg", 5, 6), FilterFields("b.jpg", 5, 6, 10**17, 2), FilterFields("c.jpg", 5, 6, 7, None)]
    assert FilterTable.of(fields).places.shape == (0, 2)
    some = FilterTable.of([*fields, FilterFields("d.jpg", 5, 6, 7, 8), *fields])
    assert some.places[3].tolist() == [7, 8]
    assert some.are_in(Filter(near="0,0").compiled().near).tolist() == [False] * 3 + [True] + [False] * 3  # type: ignore[arg-type]


@pytest.fixture
def own_index(tmp_path: Path) -> RandomIndex:
    return RandomIndex(tmp_path.resolve())


WHERE = Filter(["/elsewhere", "/a"], "jpg", "2020-09-13", "2023-10", "48.86,2.35,10km")


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "stale", "empty"])
def test_without_its_file_a_filter_reads_the_catalog(own_index: RandomIndex, damage: str) -> None:
    right = {kind: own_index.found(WHERE, kind) for kind in ("image", "text")}
    assert all(right.values())
    for kind in Kind:
        file = own_index.folder / "ix" / TABLE_NAMES[kind]
        content = bytearray(file.read_bytes())
        if damage == "flipped":  # a time, which no row that is shown would give away
            content[40] ^= 0x80
        if damage == "stale":
            content[-12] ^= 1
        file.write_bytes({"cut": bytes(content[:-20]), "empty": b""}.get(damage, bytes(content)))
        if damage == "missing":
            file.unlink()
    assert {kind: own_index.found(WHERE, kind) for kind in ("image", "text")} == right
    with Index(own_index.folder / "ix") as opened, pytest.raises(DamagedSearchFilesError):
        opened.check()
    with Catalog.create_or_open(own_index.folder / "ix") as catalog:
        refresh_derived_files(catalog, own_index.folder / "ix")
        assert all(FilterTable.read(own_index.folder / "ix", kind, catalog.generation) for kind in Kind)
    with Index(own_index.folder / "ix") as opened:
        opened.check()


def test_a_search_with_a_filter_reads_no_row_but_the_answers(
    own_index: RandomIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = own_index.found(WHERE, "image")
    monkeypatch.setattr(Catalog, "filter_fields", None)
    monkeypatch.setattr(Catalog, "code_blocks", None)
    monkeypatch.setattr(Catalog, "rows_of", None)
    assert own_index.found(WHERE, "image") == right


@pytest.mark.parametrize("count", [COUNT - 50, COUNT + 50])
@pytest.mark.parametrize("large", ["codes", "times"])
def test_files_of_another_catalog_change_no_answer(own_index: RandomIndex, large: str, count: int) -> None:
    """Whatever generation a stranger says they are of."""
    right = own_index.found(WHERE, "image")
    folder = own_index.folder / "ix"
    with Catalog.open(folder) as catalog:
        fields, (ids, codes) = list(catalog.filter_fields(Kind.IMAGE)), catalog.codes(Kind.IMAGE)
        if large == "times":
            FilterTable.of([*fields, *fields][:count]).write(folder, Kind.IMAGE, catalog.generation)
        else:
            ids, codes = np.arange(1, count + 1), np.concatenate([codes, codes])[:count]
            FaissCodeIndex(folder, Kind.IMAGE, 256).replace(ids, codes, catalog.generation)
    assert own_index.found(WHERE, "image") == right


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, 2**63), (0, 2**20), (8, 3), (8, 2**40), (16, 3), (16, 2**40), (24, 0), (24, 2**62)],
)
def test_a_file_whose_sizes_are_wrong_is_not_used(own_index: RandomIndex, place: int, value: int) -> None:
    """A stranger can give it a checksum that is right."""
    folder = own_index.folder / "ix"
    content = bytearray((folder / TABLE_NAMES[Kind.IMAGE]).read_bytes())[: -TRAILER.size]
    content[place : place + 8] = value.to_bytes(8, "little")
    write_file(folder / TABLE_NAMES[Kind.IMAGE], 5, lambda file: file.write(bytes(content)))
    assert FilterTable.read(folder, Kind.IMAGE, 5) is None


@pytest.mark.parametrize("names", [b"[]", b"[[1,2,3]]", b"{}", b"5", b"[" * 100_000, b'[["a","b"]]', b"\xff"])
def test_a_file_whose_groups_are_wrong_is_not_used(own_index: RandomIndex, names: bytes) -> None:
    folder = own_index.folder / "ix"
    content = struct.pack("<QQQQ", 1, 0, 1, len(names)) + bytes(9) + names
    write_file(folder / TABLE_NAMES[Kind.IMAGE], 5, lambda file: file.write(bytes(content)))
    assert FilterTable.read(folder, Kind.IMAGE, 5) is None
    good = b'[["a/",".jpg",0]]'
    content = struct.pack("<QQQQ", 1, 0, 1, len(good)) + bytes(9) + good
    write_file(folder / TABLE_NAMES[Kind.IMAGE], 5, lambda file: file.write(bytes(content)))
    assert FilterTable.read(folder, Kind.IMAGE, 5)
