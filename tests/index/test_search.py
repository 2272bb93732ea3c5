"""Index.search: the one place where an answer is decided, for the terminal and for Python."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hashcli as library
from hashcli import DistanceLimit, Filter, HashcliError, Query
from hashcli.hashmodel.registry import find_model
from hashcli.index.code_index import MemoryCodeIndex
from hashcli.index.derived_files import map_file
from hashcli.index.results import WhyNone
from hashcli.index.search import EmptyIndexError, Index, ModelChangedError, ModelMissingError, ModelReplacedError
from tests.conftest import PHOTOS, SKIMAGE, Run, json_rows, make_tiny_model

CAPTIONS = {"chelsea": "a cat looks at you", "coffee": "a cup of coffee", "brick": "a red wall"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real photos, some with captions beside them, indexed with lite-256 into `ix`. Not to be changed."""
    home = tmp_path_factory.mktemp("search")
    (home / "photos" / "jpegs").mkdir(parents=True)
    for name in PHOTOS:
        below = "jpegs" if name.endswith(".jpg") else "."
        shutil.copy(SKIMAGE / name, home / "photos" / below / name)
    for name, caption in CAPTIONS.items():
        (home / "photos" / f"{name}.txt").write_text(caption + "\n")
    with library.open_index(home / "ix", create=True) as index:
        summary = index.update([home / "photos"])
    assert (summary.added, summary.texts_added, summary.skipped) == (len(PHOTOS), len(CAPTIONS), [])
    return home


@pytest.fixture
def index(home: Path) -> Iterator[Index]:
    with library.open_index(home / "ix") as index:
        yield index


@pytest.fixture
def own_home(home: Path, tmp_path: Path) -> Path:
    """A copy that a test may change: the index moves with its photos."""
    return Path(shutil.copytree(home, tmp_path / "home"))


# --- the terminal and Python agree ---

CHELSEA, COFFEE = "photos/chelsea.png", "photos/coffee.png"
SAME: list[tuple[list[str], Query | str, dict[str, Any]]] = [
    (["a cat"], "a cat", {}),
    (["a", "cup", "of", "coffee", "-k", "3"], "a cup of coffee", {"k": 3}),
    (["nothing like any of these photos"], "nothing like any of these photos", {}),
    (["a cat", "--all", "-k", "99"], "a cat", {"limit": DistanceLimit(), "k": 99}),
    (["a machine", "--all", "--rerank", "0"], "a machine", {"limit": DistanceLimit(), "reranked": 0}),
    (["a cat", "--max-distance", "100"], "a cat", {"limit": DistanceLimit(max_distance=100)}),
    (["a cat", "--within", "20"], "a cat", {"limit": DistanceLimit(within=20)}),
    (["--image", CHELSEA], Query(images=CHELSEA), {}),
    (["--image", CHELSEA, "--for", "texts"], Query(images=[CHELSEA]), {"kinds": ["text"]}),
    (["a cup", "--for", "both", "-k", "2"], "a cup", {"kinds": ["image", "text"], "k": 2}),
    (
        [
            "a cat",
            "--text",
            "2:grass",
            "--image",
            f"0.5:{COFFEE}",
            "--not",
            "a clock",
            "--not-image",
            "photos/moon.png",
        ],
        Query(["a cat", ("grass", 2)], [(Path(COFFEE), 0.5)], "a clock", ["photos/moon.png"]),
        {},
    ),
    (["space", "--type", "jpg", "--all"], "space", {"where": Filter(types="jpg"), "limit": DistanceLimit()}),
    (["space", "--in", "photos/jpegs", "--all"], "space", {"where": Filter("photos/jpegs"), "limit": DistanceLimit()}),
    (["a cat", "--after", "2000", "--before", "2001"], "a cat", {"where": Filter(after="2000", before="2001")}),
]


@pytest.mark.parametrize(("arguments", "query", "settings"), SAME, ids=[" ".join(one[0]) for one in SAME])
def test_the_terminal_and_python_give_the_same_answers(
    hashcli: Run,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    query: Any,
    settings: dict[str, Any],
) -> None:
    monkeypatch.chdir(home)
    printed = json_rows(hashcli("search", *arguments, "--json", "--index", "ix", cwd=home))
    with library.open_index("ix") as index:
        results = index.search(query, **settings)
    assert [(row["rank"], row["kind"], row["path"], row["distance"]) for row in printed] == [
        (result.rank, result.kind, result.path, result.distance) for result in results
    ]
    assert [row["similarity"] for row in printed] == [round(result.similarity or 0, 4) for result in results]
    assert [(row.get("text"), row.get("line"), row.get("photo")) for row in printed] == [
        (result.text, result.line, result.photo) for result in results
    ]


def test_many_queries_are_answered_like_each_alone(index: Index) -> None:
    """Encoded together, an output may differ by so little that it flips a bit where it is nearly 0."""
    queries: list[str | Query] = [
        "a cat",
        Query(images=SKIMAGE / "coffee.png"),
        Query(["a clock"], without_texts=["grass"]),
    ]
    for query, results in zip(queries, index.search_many(queries, k=5), strict=True):
        alone = index.search(query, k=5)
        assert [result.path for result in results] == [result.path for result in alone]
        assert [result.distance for result in results] == pytest.approx([one.distance for one in alone], abs=1)


def test_a_query_of_many_that_cannot_be_read_costs_itself_alone(index: Index) -> None:
    first, second = index.search_many([Query(images="no/such.jpg"), "a cat"], k=1)
    assert len(first) == 0
    assert first.error is not None
    assert first.error.problem.startswith("no/such.jpg cannot be read: no such file")
    assert second.error is None
    assert Path(second[0].path).name == "chelsea.png"
    with pytest.raises(HashcliError, match=r"no/such\.jpg cannot be read"):
        index.search(Query(images="no/such.jpg"))


# --- what decides ---


def test_words_find_what_they_describe(index: Index) -> None:
    results = index.search("a cup of coffee", k=2)
    assert Path(results[0].path).name == "coffee.png"
    assert [result.rank for result in results] == [1, 2]
    assert results[0].distance is not None
    assert results[0].similarity == 1 - results[0].distance / 256
    assert results[0].picture == results[0].path
    assert results.query.name == "a cup of coffee"
    assert results[:1] == results.results[:1]


def test_an_open_picture_is_a_query_like_its_file(index: Index) -> None:
    with Image.open(SKIMAGE / "rocket.jpg") as picture:
        opened = index.search(Query(images=picture))
    assert opened.results == index.search(Query(images=SKIMAGE / "rocket.jpg")).results
    assert opened[0].distance == 0


def test_an_output_is_a_query_without_the_model(own_home: Path) -> None:
    with library.open_index(own_home / "ix") as index:
        (output,) = index.load_model().encode_texts(["a cat"])
        expected = index.search("a cat", k=3, limit=DistanceLimit(), words="off")
    with sqlite3.connect(own_home / "ix" / "catalog.sqlite") as db:
        db.execute("UPDATE meta SET value = 'nosuch' WHERE key = 'model'")
    with library.open_index(own_home / "ix") as index:
        assert index.search(Query(output=output), k=3).results == expected.results
        with pytest.raises(HashcliError, match=r"the shape \[3\], not the index's \[256\]"):
            index.search(Query(output=output[:3]))


def test_for_words_photos_must_be_as_near_as_the_model_says(home: Path, tmp_path: Path) -> None:
    """But not for a photo, and not where the caller sets a limit; texts are not photos."""
    model = shutil.copytree(find_model("lite-256"), tmp_path / "model")

    def set_match_distance(distance: int) -> None:
        description = json.loads((model / "model.json").read_text())
        match = {"distance": distance, "miss_rate": 0.05, "false_alarm_rate": 0.5, "photos": 1000}
        (model / "model.json").write_text(json.dumps(description | {"match": match}))

    with library.open_index(tmp_path / "ix", create=True) as index:
        index.update(home / "photos", model=model)
        everything = {
            one.path: one.distance or 0 for one in index.search("a cat", k=99, limit=DistanceLimit(), words="off")
        }
    distances = sorted(everything.values())
    for distance in (distances[1], distances[0] - 1):
        set_match_distance(distance)
        with library.open_index(tmp_path / "ix") as index:
            found = index.search("a cat", k=99, words="off")
            assert [one.path for one in found] == [path for path in everything if everything[path] <= distance]
            assert found.nearest_distance == distances[0]
            assert len(index.search("a cat", k=99, limit=DistanceLimit())) == len(PHOTOS)
            assert len(index.search(Query(images=SKIMAGE / "rocket.jpg"), k=99)) == len(PHOTOS)
            assert len(index.search("a cat", k=99, kinds=["text"])) == len(CAPTIONS)
    assert found.why_none is WhyNone.TOO_FAR


def test_why_there_are_no_answers(index: Index, home: Path, tmp_path: Path) -> None:
    assert index.search("a cat").why_none is None
    assert index.search("a cat", limit=DistanceLimit(max_distance=0)).why_none is WhyNone.TOO_FAR
    filtered = index.search("a cat", where=Filter(types=["gif"]))
    assert (filtered.why_none, filtered.nearest_distance) == (WhyNone.FILTERED, None)
    with library.open_index(tmp_path / "ix", create=True) as photos_alone:
        photos_alone.update(SKIMAGE / "chelsea.png")
        for where in (None, Filter(types=["png"])):
            assert photos_alone.search("a cat", kinds=["text"], where=where).why_none is WhyNone.NO_ITEMS


def test_words_that_the_model_does_not_know(tiny_model: Path, tmp_path: Path) -> None:
    """tiny_model knows a, cat, dog and rocket."""
    with library.open_index(tmp_path / "ix", create=True) as index:
        index.update([SKIMAGE / name for name in PHOTOS], model=tiny_model)
        none = index.search("xylophone quark", limit=DistanceLimit())
        assert (len(none), none.why_none, none.nearest_distance) == (0, WhyNone.NO_KNOWN_WORDS, None)
        assert none.unknown_words == ("xylophone", "quark")
        cat, unknown, dog, both = index.search_many(["cat", "quark", "dog", Query(["cat", "quark"])])
        assert cat.unknown_words == dog.unknown_words == ()
        assert (len(unknown), unknown.why_none) == (0, WhyNone.NO_KNOWN_WORDS)
        assert (both.unknown_words, both.why_none) == (("quark",), None)
        assert both.results == cat.results != dog.results
        assert index.search("cat quark").unknown_words == ("quark",)


def test_a_file_that_is_gone_is_marked(own_home: Path) -> None:
    (own_home / "photos" / "chelsea.png").unlink()
    with library.open_index(own_home / "ix") as index:
        assert [result.is_missing for result in index.search("a cat", k=2)] == [True, False]


def test_stale_or_damaged_derived_files_change_no_answer(own_home: Path) -> None:
    def answer() -> Any:
        with library.open_index(own_home / "ix") as index:
            return index.search("a cat", k=5).results

    expected = answer()
    with sqlite3.connect(own_home / "ix" / "catalog.sqlite") as db:
        db.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
    assert answer() == expected
    (own_home / "ix" / "images.faiss").write_bytes(b"")
    assert answer() == expected


def test_derived_files_stay_open_until_they_or_the_catalog_change(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def recording(path: Path) -> np.ndarray:
        opened.append(path.name)
        return map_file(path)

    monkeypatch.setattr("hashcli.index.code_index.map_file", recording)
    folder = own_home / "ix"
    with library.open_index(folder) as index:
        answers = [index.search("a cat", k=5, where=Filter(before="2100")).results for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        assert opened == ["images.faiss", "images.ids.npy"]
        content = (folder / "images.faiss").read_bytes()
        (folder / "images.faiss").write_bytes(b"")  # in its place, as by a program that copies files
        assert index.search("a cat", k=5).results == answers[0]
        (folder / "images.faiss").write_bytes(content)
        assert index.search("a cat", k=5).results == answers[0]
        assert len(opened) == 5  # of the empty one, the codes alone
        with sqlite3.connect(folder / "catalog.sqlite") as db:
            db.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
        assert index.search("a cat", k=5).results == answers[0]
        assert index.search("a cat", k=5).results == answers[0]
        assert len(opened) == 9  # these cannot be kept


def test_without_derived_files_codes_are_read_in_blocks(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which one is in memory at a time."""
    queries: list[str | Query] = ["a cat", "a dog", Query(output=np.ones(256, np.float32))]

    def answers() -> list[Any]:
        with library.open_index(own_home / "ix") as index:
            found = index.search_many(queries, 5, kinds=["image", "text"], where=Filter(before="2100"))
            return [results.results for results in found]

    expected = answers()
    for name in ("images.faiss", "texts.faiss", "images.filter", "texts.filter"):
        (own_home / "ix" / name).unlink()
    lengths = []

    class Recording(MemoryCodeIndex):
        def __init__(self, ids: np.ndarray, codes: np.ndarray, generation: int | None = None) -> None:
            super().__init__(ids, codes, generation)
            lengths.append(len(ids))

    monkeypatch.setattr("hashcli.index.code_index.MemoryCodeIndex", Recording)
    monkeypatch.setattr("hashcli.index.catalog._BLOCK", 3)
    assert answers() == expected
    assert max(lengths) == 3


def test_texts_may_stand_before_photos(index: Index) -> None:
    kinds = [result.kind for result in index.search("a cup", k=2, kinds=["text", "image"], limit=DistanceLimit())]
    assert kinds == ["text", "text", "image", "image"]
    assert index.search("a cup", kinds="text").results == index.search("a cup", kinds=["text"]).results


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"kinds": ["images"]}, "no kind of item 'images'. Did you mean image?"),
        ({"kinds": "photo"}, "no kind of item 'photo'"),
        ({"kinds": []}, "No kind"),
        ({"k": 0}, "k is 0"),
        ({"k": -1}, "k is -1"),
        ({"reranked": -1}, "reranked is -1"),
    ],
)
def test_a_search_that_cannot_be_made_fails_at_once(index: Index, settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(HashcliError, match=re.escape(problem)):
        index.search("a cat", **settings)
    with pytest.raises(HashcliError, match=re.escape(problem)):
        index.search_many([], **settings)


def test_what_is_no_query_is_an_error_that_says_so(index: Index) -> None:
    one: Any
    for one in ("a cat", Query("a cat")):
        with pytest.raises(TypeError, match="a list of queries"):
            index.search_many(one)
    for one in (None, b"a cat", Path("cat.jpg"), ["a cat"]):
        with pytest.raises(TypeError, match=r"a text or a hashcli\.Query"):
            index.search(one)
    with pytest.raises(HashcliError, match="nothing to look for"):
        index.search(" ")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"k": 2.5}, "k must be a whole number, not 2.5"),
        ({"where": "jpg"}, "where must be a hashcli.Filter"),
        ({"limit": 60}, "limit must be a hashcli.DistanceLimit"),
    ],
)
def test_a_setting_of_another_type_is_an_error_that_says_so(
    index: Index, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(problem)):
        index.search("a cat", **settings)
    assert len(index.search("a cat", np.int64(2))) == 2  # type: ignore[arg-type]


def test_hundreds_of_queries_from_a_generator(index: Index) -> None:
    names = [f"a cat {number}" for number in range(600)]
    results = index.search_many((name for name in names), k=1, limit=DistanceLimit())
    assert [one.query.name for one in results if len(one) == 1] == names


# --- opening, updating, errors ---


def test_an_index_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HashcliError, match="There is no index in"):
        library.open_index(tmp_path / "none")
    with library.open_index(tmp_path / "none", create=True) as index:
        for read in (lambda: index.search("a cat"), index.info, index.duplicates, index.update):
            with pytest.raises(HashcliError, match="There is no index in"):
                read()
    assert not (tmp_path / "none").exists()  # looking makes nothing


def test_an_index_that_has_never_held_anything(tmp_path: Path, tiny_model: Path) -> None:
    from hashcli.index.catalog import Catalog

    Catalog.create_or_open(tmp_path / "ix").close()
    with library.open_index(tmp_path / "ix") as index, pytest.raises(EmptyIndexError):
        index.search("a cat")
    with library.open_index(tmp_path / "ix") as index:
        assert index.info().model is None


def test_a_model_that_is_gone_or_another_one(tmp_path: Path, photos: Path) -> None:
    model = make_tiny_model(tmp_path / "model", seed=1)
    with library.open_index(tmp_path / "ix", create=True) as index:
        index.update([photos], model=model)
    shutil.rmtree(model)
    with library.open_index(tmp_path / "ix") as index, pytest.raises(ModelMissingError):
        index.search("a cat")
    make_tiny_model(model, seed=2)
    with library.open_index(tmp_path / "ix") as index, pytest.raises(ModelChangedError):
        index.search("a cat")


def test_an_open_index_goes_on_with_the_model_that_another_process_gives_it(
    tmp_path: Path, photos: Path, tiny_model: Path
) -> None:
    other = make_tiny_model(tmp_path / "other", seed=3)
    with (
        library.open_index(tmp_path / "ix", create=True) as index,
        library.open_index(tmp_path / "ix", create=True) as writer,
    ):
        writer.update([photos], model=tiny_model)
        assert len(index.search("a cat")) == 10
        writer.update([photos], model=other, rehash=True)
        assert index.search("a cat").results == writer.search("a cat").results
        assert index.load_model().fingerprint == writer.load_model().fingerprint
        writer.update(model=tiny_model, rehash=True)
        assert index.load_model().fingerprint == writer.load_model().fingerprint


def test_a_model_that_changes_within_a_search_is_an_error(tmp_path: Path, photos: Path, tiny_model: Path) -> None:
    other = make_tiny_model(tmp_path / "other", seed=3)
    with library.open_index(tmp_path / "ix", create=True) as index:
        index.update([photos], model=tiny_model)

        def queries() -> Iterator[str]:
            yield "a cat"
            with library.open_index(tmp_path / "ix") as writer:
                writer.update(photos / "coins.png", model=other, rehash=True)

        with pytest.raises(ModelReplacedError, match="just been given another hash model"):
            list(index.search_many(queries()))
        assert len(index.search("a cat")) == 10


def test_what_another_process_adds_is_found_by_an_open_index(tmp_path: Path, photos: Path, tiny_model: Path) -> None:
    with library.open_index(tmp_path / "ix", create=True) as index:
        index.update(photos / "coins.png", model=tiny_model)
        assert len(index.search("a cat")) == 1
        with library.open_index(tmp_path / "ix") as writer:
            writer.update(photos / "grass.png")
        assert len(index.search("a cat")) == 2


def test_an_empty_list_of_paths_is_not_everything(own_home: Path) -> None:
    (own_home / "photos" / "coins.png").unlink()
    shutil.copy(own_home / "photos" / "grass.png", own_home / "photos" / "copy.png")
    with library.open_index(own_home / "ix") as index:
        assert not index.update([]).changed()
        assert not index.update(iter(())).changed()
        assert index.update(path for path in [own_home / "photos"]).removed == 1
        assert index.duplicates([]).compared == 0
        assert len(index.duplicates(exact=True).groups) == 1
        for path in ("", ["", "photos"]):
            with pytest.raises(HashcliError, match="An empty path"):
                index.update(path)


def test_an_index_by_a_relative_folder_gives_absolute_paths(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    with Index("ix") as index:
        assert index.search("a cat", k=1)[0].path == str(home / "photos" / "chelsea.png")


def test_an_index_that_is_closed_opens_again(home: Path) -> None:
    index = library.open_index(home / "ix")
    first = index.search("a cat").results
    index.close()
    index.close()
    assert index.search("a cat").results == first
    index.close()


def test_a_damaged_catalog_is_named_by_whatever_reads_it(own_home: Path) -> None:
    path = own_home / "ix" / "catalog.sqlite"
    (own_home / "ix" / "images.faiss").unlink()  # so that codes are read from the catalog
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    index = library.open_index(own_home / "ix")
    for read in (lambda: index.search("a cat"), index.info, index.duplicates, lambda: index.indexed_model):
        with pytest.raises(HashcliError, match=r"catalog\.sqlite is damaged"):
            read()
    index.close()


def test_updating_tells_what_it_did_and_how_it_goes_on(tmp_path: Path, photos: Path, tiny_model: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no")
    progress: list[tuple[int, int]] = []
    with library.open_index(tmp_path / "ix", create=True) as index:
        summary = index.update(
            str(photos), model=str(tiny_model), progress=lambda done, of: progress.append((done, of))
        )
        assert summary.added == len(PHOTOS)
        ((path, reason),) = summary.skipped
        assert (path, reason) == (str(photos / "broken.jpg"), "not an image that can be read")
        assert progress[0] == (0, len(PHOTOS) + 1)
        assert progress[-1] == (len(PHOTOS) + 1, len(PHOTOS) + 1)
        (photos / "broken.jpg").unlink()
        (photos / "coins.png").rename(photos / "money.png")
        again = index.update()
        assert (again.moved, again.unchanged, again.skipped) == (1, len(PHOTOS) - 1, [])
        assert "money.png" in {Path(result.path).name for result in index.search("a cat", k=99)}


def test_paths_may_begin_at_home(
    tmp_path: Path, photos: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with library.open_index("~/ix", create=True) as index:
        assert index.folder == tmp_path / "ix"
        assert index.update(["~/photos"], model=tiny_model).added == len(PHOTOS)
        found = index.search(Query(images="~/photos/chelsea.png"), k=1, where=Filter("~/photos"))
        assert found[0].path == str(photos / "chelsea.png")


def test_info_and_duplicates(own_home: Path) -> None:
    shutil.copy(own_home / "photos" / "coins.png", own_home / "photos" / "copy.png")
    with library.open_index(own_home / "ix") as index:
        index.update([own_home / "photos"])
        info = index.info()
        assert (info.photos, info.texts, info.bits, info.model) == (len(PHOTOS) + 1, len(CAPTIONS), 256, "lite-256")
        assert info.texts_from == {"sidecars": len(CAPTIONS)}
        assert info.roots == [str(own_home / "photos")]
        for paths in (None, own_home / "photos"):
            (group,) = index.duplicates(paths, exact=True).groups
            assert {Path(photo.path).name for photo in group} == {"coins.png", "copy.png"}
        assert index.duplicates([own_home / "photos" / "jpegs"]).groups == []


def test_a_file_may_go_while_the_size_of_an_index_is_taken(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of an update that is at work."""
    is_file = Path.is_file

    def is_file_and_goes(path: Path) -> bool:
        found = is_file(path)
        if path.suffix == ".tmp":
            path.unlink()
        return found

    with library.open_index(own_home / "ix") as index:
        size = index.info().bytes
        (own_home / "ix" / "images.faiss.tmp").write_bytes(b"more")
        monkeypatch.setattr(Path, "is_file", is_file_and_goes)
        assert index.info().bytes == size
