"""Identical copies are one answer of a search, and the others are counted."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hashcli import Filter, HashcliError, Query
from hashcli.index.catalog import NO_FACTS, Catalog, FileState, Kind
from hashcli.index.catalog_file import CHECKED_COLUMNS
from hashcli.index.search import Index
from hashcli.index.update import refresh_derived_files
from tests.conftest import PHOTOS
from tests.index.indexing import IndexFolder


@pytest.fixture
def opened(index: IndexFolder) -> Iterator[Index]:
    with Index(index.folder) as opened:
        yield opened


def copies_of(photo: Path, *names: str) -> None:
    """Make copies, each with a later time than the last."""
    for number, name in enumerate(names, start=1):
        copy = photo.parent / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(photo, copy)
        later = photo.stat().st_mtime_ns + number * 1_000_000_000
        os.utime(copy, ns=(later, later))


def names(results: object) -> list[str]:
    return [Path(result.path).name for result in results]  # type: ignore[attr-defined]


def test_k_answers_are_k_different_photos(index: IndexFolder, album: Path, opened: Index) -> None:
    query = Query(images=album / "chelsea.png")
    before = opened.search(query, k=5)
    copies_of(album / "chelsea.png", "a.png", "trip/b.png")
    copies_of(album / names(before)[2], "c.png")
    index.update(album)
    found = opened.search(query, k=5)
    assert names(found) == names(before)
    assert [result.copies for result in found] == [2, 0, 1, 0, 0]
    assert [result.rank for result in found] == [1, 2, 3, 4, 5]
    every = opened.search(query, k=5, all_copies=True)
    assert set(names(every)[:3]) == {"chelsea.png", "a.png", "b.png"}
    assert {result.copies for result in every} == {0}


def test_the_oldest_that_is_there_is_shown(index: IndexFolder, album: Path, opened: Index) -> None:
    copies_of(album / "chelsea.png", "later.png", "a latest.png")
    index.update(album)
    query = Query(images=album / "a latest.png")
    assert names(opened.search(query, k=1)) == ["chelsea.png"]
    (album / "chelsea.png").unlink()
    (result,) = opened.search(query, k=1)
    assert (Path(result.path).name, result.is_missing, result.copies) == ("later.png", False, 2)
    shutil.copy(album / "a latest.png", album.parent / "query.png")
    for name in ("later.png", "a latest.png"):
        (album / name).unlink()
    (result,) = opened.search(Query(images=album.parent / "query.png"), k=1)
    assert (Path(result.path).name, result.is_missing, result.copies) == ("chelsea.png", True, 2)


def test_only_copies_that_the_filter_takes_count(index: IndexFolder, album: Path, opened: Index) -> None:
    copies_of(album / "chelsea.png", "trip/b.png", "trip/c.png")
    index.update(album)
    (result,) = opened.search(Query(images=album / "chelsea.png"), k=1, where=Filter(folders=album / "trip"))
    assert (Path(result.path).name, result.copies) == ("b.png", 1)


@pytest.mark.parametrize("derived_files", [True, False])
@pytest.mark.parametrize("reranked", [0, 100])
def test_more_copies_than_candidates(
    index: IndexFolder, album: Path, opened: Index, derived_files: bool, reranked: int
) -> None:
    """A search for k looks at a few more than k items; here the nearest photos have hundreds of copies each, and those
    of the first are all that is ranked more finely."""
    query = Query(images=album / "chelsea.png")
    before = opened.search(query, k=4, reranked=0)
    opened.close()
    state = FileState(1, 2**62)
    with Catalog.create_or_open(index.folder) as catalog:
        photos = dict(catalog.photos())
        with catalog.changing_items():
            for result in before[:3]:
                for number in range(300):
                    catalog.add_copy(photos[result.path].id, f"{result.path}-{number}.png", state, NO_FACTS)
        if derived_files:
            refresh_derived_files(catalog, index.folder)
    found = opened.search(query, k=4, reranked=reranked)
    assert names(found) == names(before)
    assert [result.copies for result in found] == [300, 300, 300, 0]
    assert len(opened.search(query, k=1000, reranked=reranked)) == len(PHOTOS)
    assert len(opened.search(query, k=1000, reranked=reranked, all_copies=True)) == len(PHOTOS) + 900


@pytest.mark.parametrize("derived_files", [True, False])
def test_copies_among_the_furthest_candidates_all_count(index: IndexFolder, opened: Index, derived_files: bool) -> None:
    """Of items that tie at the largest distance, a search for k finds only some. Here two photos do, in hundreds of
    copies each, and the second answer is one of them."""
    output = np.arange(1, 65, dtype=np.float32)  # all bits 1; the first matter least
    bits = [output > 0, output > 2, output < 63]
    codes = [np.packbits(of_code, bitorder="little") for of_code in bits]
    with Catalog.create_or_open(index.folder) as catalog:
        first, second, third, *others = (photo.id for _, photo in catalog.photos())
        with catalog.changing_items():
            catalog.remove(others)
            for id_, code in zip((first, second, third), codes, strict=True):
                catalog.set_code(id_, code)
            for number in range(200):
                for id_ in (third, second, *([first] if number < 10 else [])):
                    catalog.add_copy(id_, f"/copies/{id_}-{number}.png", FileState(1, 2**62), NO_FACTS)
        if derived_files:
            refresh_derived_files(catalog, index.folder)
    found = opened.search(Query(output=output), k=2, reranked=0)
    assert [(result.distance, result.copies) for result in found] == [(0, 10), (2, 200)]


def test_different_photos_with_the_same_code_are_different_answers(
    index: IndexFolder, album: Path, opened: Index
) -> None:
    index.sql("UPDATE items SET code = (SELECT code FROM items WHERE path LIKE '%chelsea.png') WHERE kind = 0")
    index.sql(f"UPDATE items SET check_value = check_value({CHECKED_COLUMNS})")
    index.sql("UPDATE meta SET value = 7 WHERE key = 'generation'")
    found = opened.search(Query(images=album / "chelsea.png"), k=5)
    assert len({result.distance for result in found}) == 1
    assert len(set(names(found))) == 5
    assert {result.copies for result in found} == {0}


def test_texts_are_copies_if_they_say_the_same_of_one_photo(
    index: IndexFolder, album: Path, opened: Index, tmp_path: Path
) -> None:
    (album / "chelsea.txt").write_text("a cat\n")
    (album / "coffee.txt").write_text("a cat\n")
    for name in ("captions.csv", "more.csv"):
        (tmp_path / name).write_text("image,text\nphotos/chelsea.png,a cat\nphotos/brick.png,a cat\n")
    index.update(album, tmp_path / "captions.csv", tmp_path / "more.csv")
    found = opened.search("a cat", kinds="text")
    assert sorted((Path(result.photo or "").name, result.copies) for result in found) == [
        ("brick.png", 1),
        ("chelsea.png", 2),
        ("coffee.png", 0),
    ]
    assert len(opened.search("a cat", kinds="text", all_copies=True)) == 6
    assert opened.catalog.count(Kind.TEXT) == 6


# --- by date ---


def test_sorted_by_date_the_best_come_newest_first(index: IndexFolder, album: Path, opened: Index) -> None:
    query = Query(images=album / "chelsea.png")
    best = names(opened.search(query, k=4))
    for name, year in zip(best, (2001, 2004, 2002, 2003), strict=True):
        time = (year - 1970) * 31_556_952
        os.utime(album / name if (album / name).exists() else album / "trip" / name, (time, time))
    index.update(album)
    found = opened.search(query, k=4, sort="date")
    assert [result.rank for result in found] == [2, 4, 3, 1]
    assert names(found) == [best[1], best[3], best[2], best[0]]
    with pytest.raises(HashcliError, match="cannot be sorted by 'size'"):
        opened.search(query, sort="size")  # type: ignore[arg-type]
