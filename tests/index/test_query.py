"""What a query may be made of, and how its parts become one output."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hashcli import HashcliError, HashModel, Query
from hashcli.index.query import encode
from tests.conftest import SKIMAGE


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> HashModel:
    return HashModel(tiny_model)


def unit(output: np.ndarray) -> np.ndarray:
    return np.asarray(output / np.linalg.norm(output))


def output_of(model: HashModel, query: Query) -> np.ndarray:
    (output,) = encode(model, [query])
    assert isinstance(output, np.ndarray)
    return output


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
    assert isinstance(outputs[0], np.ndarray)
    assert np.array_equal(outputs[0], cat)
    assert isinstance(outputs[3], np.ndarray)
    assert np.array_equal(outputs[3], dog)
    assert isinstance(outputs[1], HashcliError)
    assert outputs[1].problem.startswith(f"{gone} cannot be read: no such file or directory.")
    assert isinstance(outputs[2], HashcliError)
    assert "JPEG" in outputs[2].remedy


def test_parts_that_cancel_each_other_are_an_error(model: HashModel) -> None:
    (error,) = encode(model, [Query("cat", without_texts="cat")])
    assert isinstance(error, HashcliError)
    assert "cancel" in error.problem
