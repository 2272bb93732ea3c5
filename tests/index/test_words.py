"""Words: how they are told apart, and which photos come first for them, on a small album with the tiny model."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hashcli import DistanceLimit, Filter, HashcliError, Query, WhyNone
from hashcli.index import catalog_file, word_index
from hashcli.index.catalog import Catalog, Document
from hashcli.index.derived_files import TRAILER, write_file
from hashcli.index.search import DamagedSearchFilesError, Index
from hashcli.index.word_index import BUILD_NAME, FILE_NAME, WordIndex, write_word_index
from hashcli.index.words import Holders, QueryWords, WordHits, words_of
from tests.conftest import PHOTOS
from tests.index.indexing import IndexFolder

ALL = len(PHOTOS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dogs on a Beach", "dog on a beach"),
        ("2019 Oberstdorf/IMG_4711.JPG", "2019 oberstdorf img 4711 jpg"),
        ("receipt-2021 (2).pdf", "receipt 2021 2 pdf"),
        ("glass, bus; cups", "glass bus cup"),
        ("Caf\u00e9 Cafe\u0301 CAF\u00c9S", "cafe cafe cafe"),
        ("Stra\u00dfe \u0130stanbul", "strasse istanbul"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u6771\u4eac", "\u0939\u093f\u0928\u094d\u0926\u0940 \u6771\u4eac"),
        ("\u2121 \ufb01sh x\u00b2", "tel fish x2"),
        ("bad\udcff name \0 ...", "bad name"),
        ("", ""),
    ],
)
def test_words_of_a_text(text: str, words: str) -> None:
    assert list(words_of(text)) == words.split()


def test_words_of_a_query() -> None:
    query = Query(["a dog on the Beaches", ("dogs 2019", 2.0)], without_texts=["Snow"])
    of_query = QueryWords.of(query, lambda word: not word.startswith("beach"))
    plurals = {"beache": "beaches", "dog": "dogs"}
    assert of_query == QueryWords(("dog", "beache", "2019"), frozenset({"beache", "2019"}), ("snow",), plurals)
    for nothing in (Query("what is it"), Query(output=np.ones(8))):
        assert QueryWords.of(nothing, lambda _: True).wanted == ()
    assert QueryWords.of(Query("2 dogs, IMG_47"), lambda _: True).names == frozenset()


def found(index: IndexFolder, query: str | Query, k: int = ALL, **options: Any) -> list[str]:
    with Index(index.folder) as opened:
        return [Path(result.path).name for result in opened.search(query, k, **options)]


def held(index: IndexFolder, query: str | Query, **options: Any) -> dict[str, tuple[str, ...]]:
    """The photos that come first, and the words of the query that they hold."""
    with Index(index.folder) as opened:
        first = opened.search(query, ALL, **{"words": "only"} | options) if options.get("words") != "off" else []
        results = opened.search(query, ALL, **options)
    if "words" not in options and "kinds" not in options:
        assert [result.path for result in results][: len(first)] == [result.path for result in first]
    assert [result.rank for result in results] == list(range(1, len(results) + 1))
    return {Path(result.path).name: result.words for result in first}


@pytest.fixture
def told(index: IndexFolder, album: Path) -> IndexFolder:
    """An album of which some photos have texts: in a sidecar, a list of captions, and keywords."""
    (album / "brick.txt").write_text("a dog before a wall\nour house\n")
    (album / "moon.jpg.txt").write_text("unused\n")
    (album / "captions.jsonl").write_text('{"image": "grass.png", "text": "the dog of Zo\u00eb on the lawn"}\n')
    (album / "trip" / "moon.txt").write_text("Full moon over Oberstdorf\n")
    index.update(album, album / "captions.jsonl")
    return index


def test_photos_that_hold_all_words_come_first(told: IndexFolder) -> None:
    everything = found(told, "a dog", words="off")
    assert len(everything) == ALL
    assert held(told, "a dog") == {name: ("dog",) for name in everything if name in ("brick.png", "grass.png")}
    assert found(told, "a dog")[2:] == [name for name in everything if name not in ("brick.png", "grass.png")]
    assert held(told, "dogs at a rocket") == {}
    assert held(told, "dogs at a wall") == {"brick.png": ("dogs", "wall")}
    assert held(told, "a wall with our dog, and a house") == {"brick.png": ("wall", "dog", "house")}  # of two texts
    assert held(told, "a dog and a cat") == {}
    assert held(told, "zoe's dog") == {"grass.png": ("zoe", "dog")}
    assert found(told, "a dog", k=1) == found(told, "a dog")[:1]
    with Index(told.folder) as index:
        for which in ({"words": "off"}, {"kinds": "text", "limit": DistanceLimit()}):
            assert not any(result.words for result in index.search("a dog", ALL, **which))


def test_photos_that_hold_some_words_gain(told: IndexFolder) -> None:
    """The tiny model knows both words. Nothing comes first: no photo holds both."""
    query = "a cat and a rocket"
    with Index(told.folder) as index:
        by_meaning = [Path(result.path).name for result in index.search(query, ALL, words="off")]
        results = index.search(query, ALL)
        assert list(index.search(query, ALL, words="only")) == []
    words = {Path(result.path).name: result.words for result in results if result.words}
    assert words == {"rocket.jpg": ("rocket",)}
    places = [[Path(result.path).name for result in results].index("rocket.jpg"), by_meaning.index("rocket.jpg")]
    assert places[0] <= places[1]
    others = [Path(result.path).name for result in results if not result.words]
    assert others == [name for name in by_meaning if name != "rocket.jpg"]


def test_the_evidence_of_words() -> None:
    words = QueryWords(("dog", "beach", "sea", "nowhere"))
    ids = {"dog": np.array([3, 5]), "beach": np.array([5]), "sea": np.arange(20), "nowhere": np.array([], int)}
    evidence = WordHits(words, {word: Holders(found, found) for word, found in ids.items()}, 200).evidence(
        np.array([7, 5, 3])
    )
    # 200 photos: a tenth of them, over those that hold the word; the sea is on every tenth and says nothing
    np.testing.assert_allclose(evidence, [0, 0.2 * (np.log(20 / 2) + np.log(20 / 1)), 0.2 * np.log(20 / 2)])


def test_common_words_put_nothing_first(new_index: IndexFolder, tmp_path: Path) -> None:
    """As where nearly all photos are in a folder "rocket": the model knows the word itself, but not "Oberstdorf"."""
    (tmp_path / "rocket" / "Oberstdorf").mkdir(parents=True)
    (tmp_path / "others").mkdir()
    for number in range(22):
        name = f"{'others' if number == 0 else 'rocket/Oberstdorf'}/{number}.png"
        Image.new("RGB", (16, 16), (10 * number, 50, 90)).save(tmp_path / name)
    (tmp_path / "rocket" / "Oberstdorf" / "7.txt").write_text("a dog")
    new_index.update(tmp_path / "rocket", tmp_path / "others")
    for query in ("a rocket", "photos of a rocket"):
        assert found(new_index, query, 22) == found(new_index, query, 22, words="off")
    assert found(new_index, "a dog and a rocket", 22)[0] == "7.png"
    assert "0.png" not in found(new_index, "a rocket", 21, words="only")
    assert len(found(new_index, "a rocket", 22, words="only")) == 21
    assert found(new_index, "Oberstdorf", 22) == found(new_index, "Oberstdorf", 22, words="only")  # common names do
    assert len(found(new_index, "Oberstdorf", 22)) == 21


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_words_read_in_many_pictures_put_nothing_first() -> None:
    """Pages hold many words; names and words that few of them hold are found all the same."""
    cat = Holders(ids(1), np.arange(1, 51))  # written of the first, and read in all
    dog, oban = Holders(ids(1), ids(1, 2, 3)), Holders(ids(), np.arange(1, 51))
    holders = {"cat": cat, "dog": dog, "oban": oban}

    def first(*words: str, with_common: bool = False) -> list[int]:
        names = frozenset({"oban"} & {*words})
        return [*map(int, WordHits(QueryWords(words, names), holders, 1000).ids(with_common=with_common))]

    assert first("cat") == [1]
    assert first("cat", with_common=True) == [*range(1, 51)]
    assert first("dog") == [1, 2, 3]
    assert first("cat", "dog") == [1, 2, 3]
    assert first("oban") == [*range(1, 51)]


@pytest.mark.parametrize("query", ["a", "the photos", "a picture of it", "an image"])
def test_small_words_put_nothing_first(new_index: IndexFolder, tmp_path: Path, query: str) -> None:
    for number, name in enumerate(
        ("a.png", "the photos.png", "photos/b.png", "c.png", "Picture of It/d.png", "image.png")
    ):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (40 * number, 50, 90)).save(tmp_path / "p" / name)
    new_index.update(tmp_path / "p")
    assert found(new_index, f"{query} cat") == found(new_index, f"{query} cat", words="off")
    assert not any(held(new_index, query).values())


def test_names_come_first_whatever_else_is_looked_for(told: IndexFolder) -> None:
    """The tiny model knows only: a cat dog rocket."""
    assert held(told, "Oberstdorf") == {"moon.png": ("oberstdorf",)}
    assert held(told, "a cat in Oberstdorf") == {"moon.png": ("oberstdorf",)}
    assert held(told, "clock_motion.png")["clock_motion.png"] == ("clock", "motion", "png")
    assert held(told, "rocket") == {"rocket.jpg": ("rocket",)}
    assert held(told, "trip") == {"rocket.jpg": ("trip",), "moon.png": ("trip",)}
    assert held(told, "Nowhere") == {}
    assert held(told, "a cat in Oberstdorf, Nowhere") == {"moon.png": ("oberstdorf",)}
    assert held(told, "a cat, a trip to Oberstdorf") == {"moon.png": ("trip", "oberstdorf")}  # of names, all


def test_words_that_the_model_does_not_know_have_no_distance(told: IndexFolder) -> None:
    with Index(told.folder) as index:
        results = index.search("trip")
        shown = [(Path(result.path).name, result.distance, result.similarity, result.words) for result in results]
        assert sorted(shown) == [("moon.png", None, None, ("trip",)), ("rocket.jpg", None, None, ("trip",))]
        assert (results.unknown_words, results.why_none, results.nearest_distance) == (("trip",), None, None)
        ids = {path: file.id for path, file in index.catalog.photos()}
        assert [ids[result.path] for result in results] == sorted(ids[result.path] for result in results)
        nothing = index.search("Nowhere")
        assert (list(nothing), nothing.why_none) == ([], WhyNone.NO_KNOWN_WORDS)
        assert [result.distance for result in index.search("Oberstdorf", 1)] == [None]


def test_only_by_words_or_filtered_or_near_enough(told: IndexFolder, album: Path) -> None:
    assert set(found(told, "a dog", words="only")) == {"brick.png", "grass.png"}
    assert found(told, "a dog", words="only", where=Filter(types="jpg")) == []
    with Index(told.folder) as index:
        assert index.search("a cat and a dog", words="only").why_none is WhyNone.NO_WORDS
        with pytest.raises(HashcliError, match="Only photos"):
            index.search("a dog", kinds=["image", "text"], words="only")
        with pytest.raises(HashcliError, match="words cannot be"):
            index.search("a dog", words="onyl")  # type: ignore[arg-type]
    assert held(told, "trip", where=Filter(types="png")) == {"moon.png": ("trip",)}
    assert held(told, "a dog", limit=DistanceLimit(0)) == {}
    assert held(told, Query("a dog", without_texts="house")) == {"grass.png": ("dog",)}
    by_photo = Query("dog", images=str(album / "coins.png"))
    assert set(held(told, by_photo)) == {"brick.png", "grass.png"}
    assert held(told, Query(images=str(album / "coins.png"))) == {}


def test_many_queries_are_each_answered_by_their_words(told: IndexFolder) -> None:
    queries = ["a dog", "Oberstdorf", "a cat", "Nowhere", "a dog at a wall"]
    with Index(told.folder) as index:
        together = [list(results) for results in index.search_many(queries, ALL)]
        assert together == [list(index.search(query, ALL)) for query in queries]


def test_folders_count_from_the_root_on(new_index: IndexFolder, album: Path, tmp_path: Path) -> None:
    new_index.update(album / "trip")
    assert set(held(new_index, "trip")) == {"rocket.jpg", "moon.png"}
    (album / "trip").rename(album / "trip 2019")
    new_index.update(album)
    assert set(held(new_index, "2019")) == {"rocket.jpg", "moon.png"}
    album = album.rename(album.with_name("Oberstdorf"))
    new_index.update(album)
    new_index.update(album.parent / "Oberstdorf" / "trip 2019")
    assert set(held(new_index, "Oberstdorf 2019")) == {"rocket.jpg", "moon.png"}  # from the outer root on
    assert held(new_index, tmp_path.name) == {}
    new_index.update()
    with Index(new_index.folder) as index:
        index.check()


# --- the derived file ---


def spoilt(index: IndexFolder, change: Callable[[bytearray], object]) -> None:
    path = index.folder / FILE_NAME
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "stale", "empty", "no database", "no fts5"])
def test_without_its_file_words_are_looked_for_in_the_catalog(
    told: IndexFolder, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = ["a dog", "Oberstdorf", "a dog at a wall", "zoe"]
    right = [held(told, query) for query in queries]
    assert all(right)
    path = told.folder / FILE_NAME
    with told.read() as catalog:
        generation = catalog.generation
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        spoilt(told, lambda content: content.__delitem__(slice(-20, None)))
    elif damage == "flipped":
        spoilt(told, lambda content: content.__setitem__(len(content) // 2, content[len(content) // 2] ^ 1))
    elif damage == "stale":
        spoilt(told, lambda content: content.__setitem__(-TRAILER.size, content[-TRAILER.size] ^ 1))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no database":
        write_file(path, generation, lambda file: file.write(b"words"))
    else:
        monkeypatch.setattr(word_index, "_TABLE", word_index._TABLE.replace("fts5", "fts6"))
    assert [held(told, query) for query in queries] == right
    if damage == "no fts5":
        assert not word_index.has_fts5()
        told.update()  # does without
        assert [held(told, query) for query in queries] == right
        return
    with Index(told.folder) as opened, pytest.raises(DamagedSearchFilesError):
        opened.check()
    told.update()
    with Index(told.folder) as opened:
        opened.check()
    monkeypatch.setattr(Catalog, "documents", None)
    assert [held(told, query) for query in queries] == right


def test_the_file_has_the_words_of_every_photo(told: IndexFolder) -> None:
    with told.read() as catalog:
        documents = list(catalog.documents())
        index = WordIndex.open(told.folder, catalog.generation)
    assert index is not None
    assert len(documents) == ALL
    for word in {word for document in documents for text in document.texts for word in words_of(text)}:
        expected = [document.id for document in documents if any(word in words_of(text) for text in document.texts)]
        assert index.holders([word])[word].tolist() == expected
    assert index.holds(documents)
    assert not index.holds([document._replace(id=document.id + 1) for document in documents])
    assert not index.holds([*documents[:-1], documents[-1]._replace(read=["more"])])
    assert not index.holds(documents[:-1])
    index.close()
    assert sorted(path.name for path in told.folder.iterdir() if "words" in path.name) == [FILE_NAME]


def test_it_is_read_as_often_as_one_likes(told: IndexFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_file, "_STEPS_PER_LOOK", 1000)
    monkeypatch.setattr(catalog_file, "_LEAST_LOOKS", 10)
    monkeypatch.setattr(catalog_file, "_BYTES_PER_LOOK", 1 << 40)
    with told.read() as catalog:
        index = WordIndex.open(told.folder, catalog.generation)
    assert index is not None
    for _ in range(1000):
        assert len(index.holders(["dog"])["dog"]) == 2
    index.close()


def test_a_file_that_says_something_else_than_the_catalog_is_found(told: IndexFolder) -> None:
    with told.read() as catalog:
        write_word_index(told.folder, catalog.generation, [Document(1, ["a stranger"], [])])
    with Index(told.folder) as opened, pytest.raises(DamagedSearchFilesError):
        opened.check()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (a)",
        "CREATE VIEW more AS SELECT 1",
        "CREATE TRIGGER more AFTER INSERT ON words_data BEGIN SELECT 1; END",
        "DROP TABLE words; CREATE TABLE words (held); INSERT INTO words VALUES ('dog')",
        "DROP TABLE words; CREATE VIRTUAL TABLE words USING fts5(held, content='words_data')",
    ],
)
def test_a_strangers_database_is_not_used(told: IndexFolder, tmp_path: Path, statement: str) -> None:
    with told.read() as catalog:
        generation = catalog.generation
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes((told.folder / FILE_NAME).read_bytes()[: -TRAILER.size])
    with sqlite3.connect(copy) as db:
        db.executescript(statement)
    db.close()
    write_file(told.folder / FILE_NAME, generation, lambda file: file.write(copy.read_bytes()))
    assert WordIndex.open(told.folder, generation) is None
    assert held(told, "zoe") == {"grass.png": ("zoe",)}


def test_a_link_or_pipe_in_its_place(told: IndexFolder, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    (told.folder / BUILD_NAME).symlink_to(mine)  # where the next file is made
    (told.folder / FILE_NAME).unlink()
    told.update()
    assert mine.read_text() == "precious"
    (told.folder / FILE_NAME).unlink()
    os.mkfifo(told.folder / FILE_NAME)
    assert held(told, "zoe") == {"grass.png": ("zoe",)}


def test_an_index_that_is_read_only_and_old_is_searched_by_words(told: IndexFolder) -> None:
    from tests.index.indexing import to_version

    right = held(told, "zoe")
    to_version(3, told.folder)
    (told.folder / FILE_NAME).unlink()
    before = sorted(path.name for path in told.folder.iterdir())
    assert held(told, "zoe") == right
    assert [name for name in sorted(path.name for path in told.folder.iterdir()) if "-" not in name] == before
    told.update()
    assert (told.folder / FILE_NAME).exists()
    assert held(told, "zoe") == right


def test_of_copies_the_one_that_holds_the_words_is_shown(told: IndexFolder, album: Path) -> None:
    shutil.copy(album / "grass.png", album / "older.png")
    os.utime(album / "older.png", (10**9, 10**9))
    told.update(album)
    with Index(told.folder) as index:
        first, *others = index.search("the dog of Zoe", 3)
        assert (Path(first.path).name, first.words, first.copies) == ("grass.png", ("dog", "zoe"), 1)
        assert len(others) == 2
        assert not {"grass.png", "older.png"} & {Path(result.path).name for result in others}
        by_meaning = index.search("the dog of Zoe", ALL + 1, words="off")
        assert "older.png" in {Path(result.path).name for result in by_meaning}
        names = [Path(result.path).name for result in index.search("the dog of Zoe", ALL + 1, all_copies=True)]
        assert names[0] == "grass.png"
        assert sorted(names) == sorted([*(Path(name).name for name in PHOTOS), "older.png"])


@pytest.mark.parametrize("derived_files", [True, False])
def test_copies_that_hold_the_words_leave_out_no_other_photo(
    told: IndexFolder, album: Path, derived_files: bool
) -> None:
    """The model does not know the word, and those that were indexed first are copies of one photo."""
    for number in range(50):
        shutil.copy(album / "coins.png", album / f"oban {number}.png")
    told.update(album)
    for name in ("grass", "brick"):
        shutil.copy(album / f"{name}.png", album / f"oban {name}.png")
    told.update(album)
    if not derived_files:
        for name in ("images.faiss", "images.ids.npy"):
            (told.folder / name).unlink()
    with Index(told.folder) as index:
        for words, copies in (("first", [50, 1, 1]), ("only", [49, 0, 0])):
            results = index.search("oban", 3, words=words)  # type: ignore[arg-type]
            assert [result.copies for result in results] == copies
            assert list(index.search("oban", 1, words=words)) == [results[0]]  # type: ignore[arg-type]
            assert len(index.search("oban", ALL, words=words)) == 3  # type: ignore[arg-type]
        assert len(index.search("oban", 40, all_copies=True)) == 40
        assert len(index.search("oban", 100, all_copies=True)) == 52


def test_another_photo_with_the_code_of_one_that_holds_the_words_is_no_answer(told: IndexFolder, album: Path) -> None:
    """It is the same picture, saved once more: no copy byte for byte, and its name is another one."""
    shutil.copy(album / "coins.png", album / "oban.png")
    Image.open(album / "coins.png").save(album / "again.png", compress_level=1)
    told.update(album)
    assert told.codes()["oban.png"] == told.codes()["again.png"]
    with Index(told.folder) as index:
        (result,) = index.search("oban", ALL)
    assert (Path(result.path).name, result.copies) == ("oban.png", 1)
