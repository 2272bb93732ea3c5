"""What a query may be made of, and how its parts become one output."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hashcli import HashcliError, HashModel, Query
from hashcli.index.query import EncodedQuery, encode
from tests.conftest import SKIMAGE


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> HashModel:
    return HashModel(tiny_model)


def unit(output: np.ndarray) -> np.ndarray:
    return np.asarray(output / np.linalg.norm(output))


def output_of(model: HashModel, query: Query) -> np.ndarray:
    (encoded,) = encode(model, [query])
    assert isinstance(encoded, EncodedQuery)
    assert encoded.output is not None
    return encoded.output


def test_one_entry_needs_no_list() -> None:
    assert Query("a cat").parts == Query(["a cat"]).parts == Query([("a cat", 1)]).parts
    assert Query(images="dog.jpg").parts == Query(images=["dog.jpg"]).parts
    assert Query(images=Path("dog.jpg")).photos == ("dog.jpg",)


def test_a_query_has_a_name() -> None:
    with Image.open(SKIMAGE / "rocket.jpg") as picture:
        query = Query(["a cat", ("grass", 2)], ["dog.jpg", picture], "a clock", "moon.png")
    assert query.name == "a cat + grass + dog.jpg + a photo - a clock - moon.png"
    assert query.photos == ("dog.jpg", "moon.png")
    assert not query.is_words
    assert Query("a cat", name="mine").name == "mine"
    assert Query(["a", "b"]).is_words
    assert not Query("a", without_texts="b").is_words
    assert not Query(output=np.ones(8)).is_words


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"texts": []},
        {"texts": ""},
        {"texts": ["a cat", "  "]},
        {"images": ""},
        {"without_texts": "a cat"},
        {"texts": [("a cat", 0)]},
        {"texts": [("a cat", -1)]},
        {"texts": [("a cat", float("nan"))]},
        {"texts": "a cat", "output": np.ones(64)},
    ],
)
def test_a_query_that_looks_for_nothing_is_an_error(entries: dict[str, Any]) -> None:
    with pytest.raises(HashcliError):
        Query(**entries)


def test_a_single_part_keeps_its_output(model: HashModel) -> None:
    assert np.array_equal(output_of(model, Query("a cat")), model.encode_texts(["a cat"])[0])
    pixels = model.load_pixels(str(SKIMAGE / "rocket.jpg"))
    assert np.array_equal(output_of(model, Query(images=SKIMAGE / "rocket.jpg")), model.encode_pixels(pixels[None])[0])


def test_parts_of_equal_length_are_weighted_and_added(model: HashModel) -> None:
    cat, dog = (unit(output) for output in model.encode_texts(["cat", "dog"]))
    photo = unit(output_of(model, Query(images=SKIMAGE / "rocket.jpg")))
    query = Query([("cat", 2), "dog"], SKIMAGE / "rocket.jpg")
    assert np.allclose(output_of(model, query), 2 * cat + dog + photo, atol=1e-6)
    away = Query("cat", without_texts=[("dog", 3)], without_images=SKIMAGE / "rocket.jpg")
    assert np.allclose(output_of(model, away), cat - 3 * dog - photo, atol=1e-6)


def test_queries_are_encoded_in_order_and_errors_keep_their_place(model: HashModel, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("buy milk")
    gone, unreadable = tmp_path / "gone.jpg", tmp_path / "notes.jpg"
    outputs = encode(model, [Query("cat"), Query(images=gone), Query(images=unreadable), Query("dog")])
    cat, dog = model.encode_texts(["cat", "dog"])
    for output, expected in ((outputs[0], cat), (outputs[3], dog)):
        assert isinstance(output, EncodedQuery)
        assert output.output is not None
        assert np.array_equal(output.output, expected)
    assert isinstance(outputs[1], HashcliError)
    assert outputs[1].problem.startswith(f"{gone} cannot be read: no such file or directory.")
    assert isinstance(outputs[2], HashcliError)
    assert "JPEG" in outputs[2].remedy


def test_a_text_without_a_known_word_is_left_out(model: HashModel) -> None:
    """With tiny_model's words: a, cat, dog, rocket."""
    photo = SKIMAGE / "rocket.jpg"
    assert encode(model, [Query("xylophone quark")]) == [EncodedQuery(None, ("xylophone", "quark"))]
    assert encode(model, [Query("quark", without_texts="cat")]) == [EncodedQuery(None, ("quark",))]
    without = {
        Query(texts=["cat", "quark"]): Query("cat"),
        Query("cat", without_texts="quark"): Query(["cat"]),
        Query("quark", images=photo): Query(images=photo),
    }
    for query, same in without.items():
        (encoded,) = encode(model, [query])
        assert isinstance(encoded, EncodedQuery)
        assert encoded.unknown_words == ("quark",)
        assert encoded.output is not None
        assert np.array_equal(encoded.output, output_of(model, same))
    (encoded,) = encode(model, [Query(["a cat on a quark", "quark of a dog"], without_texts="xylophone")])
    assert isinstance(encoded, EncodedQuery)
    assert encoded.unknown_words == ("on", "quark", "of", "xylophone")


def test_parts_that_cancel_each_other_are_an_error(model: HashModel) -> None:
    (error,) = encode(model, [Query("cat", without_texts="cat")])
    assert isinstance(error, HashcliError)
    assert "cancel" in error.problem


@pytest.mark.parametrize(
    "entries",
    [
        {"texts": 5},
        {"texts": None},
        {"texts": b"a cat"},
        {"texts": ("a cat", 2.0)},
        {"texts": [["a cat", 2.0]]},
        {"texts": [("a cat", 2.0, "a dog")]},
        {"texts": [Path("cat.txt")]},
        {"texts": [("a cat", "2")]},
        {"texts": [("a cat", float("inf"))]},
        {"images": [np.zeros((8, 8, 3), np.uint8)]},
        {"images": b"cat.jpg"},
        {"output": "a cat"},
    ],
    ids=str,
)
def test_an_entry_of_another_type_is_an_error(entries: dict[str, Any]) -> None:
    with pytest.raises(HashcliError):
        Query(**entries)


def test_a_weight_beside_its_text_is_shown_where_it_belongs() -> None:
    with pytest.raises(HashcliError, match=r"2\.0 in a query is not a text") as raised:
        Query(texts=["a cat", 2.0])  # type: ignore[list-item]
    assert '[("snow", 2.0)]' in raised.value.remedy


def test_entries_may_come_from_any_iterable() -> None:
    """A generator can be read only once, and the query is read several times."""
    query = Query(texts=(text for text in ["a cat", "a dog"]), images={"cat.jpg": 1}.keys())
    assert [part.content for part in query.parts] == ["a cat", "a dog", "cat.jpg"]
    assert query.name == "a cat + a dog + cat.jpg"
    assert query == Query(["a cat", "a dog"], "cat.jpg")


def test_an_output_may_be_a_list_of_numbers() -> None:
    output = Query(output=[1.0, -2.0]).output  # type: ignore[arg-type]
    assert output is not None
    assert output.dtype == np.float32
    assert output.tolist() == [1, -2]


def test_an_open_image_is_not_changed_by_a_search(model: HashModel) -> None:
    """A JPEG file that is read for a model is decoded at a smaller size."""
    with Image.open(SKIMAGE / "rocket.jpg") as picture:
        size = picture.size
        output_of(model, Query(images=picture))
        assert picture.size == size


def test_an_open_image_that_cannot_be_decoded_is_an_error(model: HashModel, tmp_path: Path) -> None:
    with Image.open(SKIMAGE / "chelsea.png") as picture:
        picture.save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:9000])
    with Image.open(tmp_path / "cut.png") as picture:
        (error,) = encode(model, [Query(images=picture)])
    (closed,) = encode(model, [Query(images=picture)])
    for each in (error, closed):
        assert isinstance(each, HashcliError)
        assert each.problem.startswith("The photo cannot be read")
