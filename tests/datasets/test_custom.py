"""Your own data: lists of pairs, and folders of photos with texts beside them."""

import json
import shutil
from pathlib import Path

import pytest

from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import make_split
from hashcli.errors import HashcliError
from tests.conftest import SKIMAGE
from tests.datasets.layouts import JPEGS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the photos a.jpg, b.jpg and trip/c.JPG."""
    folder = tmp_path / "holiday"
    (folder / "trip").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "trip/c.JPG"):
        shutil.copy(SKIMAGE / JPEGS[0], folder / name)
    return folder


def test_a_list_in_json_lines(folder: Path) -> None:
    """A photo in two rows has the texts and labels of both. The one without a label is kept, as `missing` says."""
    rows = [
        {"image": "trip/c.JPG", "text": "a dog\non the beach", "labels": ["dog", "beach"]},
        {"image": "a.jpg", "texts": ["one", "two"], "labels": "sky; beach"},
        {"image": "b.jpg", "text": "no label"},
        {"image": "a.jpg", "text": "three", "labels": ["dog"]},
    ]
    (folder / "pairs.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    dataset = load_dataset(str(folder / "pairs.jsonl"))
    assert dataset.name == "own-pairs"
    assert dataset.ids == ["trip/c.JPG", "a.jpg", "b.jpg"]
    assert dataset.texts == [["a dog on the beach"], ["one", "two", "three"], ["no label"]]
    assert dataset.label_names == ["beach", "dog", "sky"]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert dataset.labelled.tolist() == [True, True, False]
    assert dataset.missing == "1 of 3 photos have no labels; they are trained on, and not searched"
    assert all(path.exists() for path in dataset.images)


def test_a_list_in_csv(folder: Path) -> None:
    """As a spreadsheet writes it: with a byte order mark, quotes, and a line end within a text."""
    content = '\ufeffimage,text,labels\r\na.jpg,"a dog, a ""big"" one\nasleep",dog;sleep\r\ntrip/c.JPG,sky,sky\r\n'
    (folder / "pairs.csv").write_text(content, encoding="utf-8", newline="")
    dataset = load_dataset(str(folder / "pairs.csv"))
    assert dataset.ids == ["a.jpg", "trip/c.JPG"]
    assert dataset.texts == [['a dog, a "big" one asleep'], ["sky"]]
    assert dataset.label_names == ["dog", "sky", "sleep"]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [[1, 0, 1], [0, 1, 0]]


def test_a_list_without_labels(folder: Path) -> None:
    (folder / "pairs.csv").write_text("text,image\na dog,a.jpg\na cat,b.jpg\n")
    dataset = load_dataset(str(folder / "pairs.csv"))
    assert dataset.texts == [["a dog"], ["a cat"]]
    assert dataset.labels is None
    assert not dataset.missing


def test_a_folder_with_texts_beside_the_photos(folder: Path) -> None:
    (folder / "a.txt").write_text("a dog\n\n  on the beach \n")
    (folder / "trip" / "c.JPG.txt").write_text("été")
    dataset = load_dataset(str(folder))
    assert dataset.name == "own-holiday"
    assert dataset.ids == ["a.jpg", "trip/c.JPG"]
    assert dataset.texts == [["a dog", "on the beach"], ["été"]]
    assert dataset.labels is None
    assert dataset.missing == "1 of 3 photos are left out, having no text beside them"
    split = make_split(dataset, seed=0)
    assert len(split.query) == len(split.database) == 1


def test_linked_folders_are_followed_once(folder: Path, tmp_path: Path) -> None:
    """A link back to the folder ends; a photo that is also linked is known by its real place; hidden ones are left."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(SKIMAGE / JPEGS[0], elsewhere / "d.jpg")
    (elsewhere / "d.txt").write_text("a lake")
    (folder / "trip" / "c.txt").write_text("a hill")
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    (folder / "again.jpg").symlink_to(folder / "trip" / "c.JPG")
    (folder / "again.txt").write_text("not read: the photo is trip/c.JPG")
    (folder / ".hidden").mkdir()
    shutil.copy(SKIMAGE / JPEGS[0], folder / ".hidden" / "e.jpg")
    (folder / ".hidden" / "e.txt").write_text("hidden")
    dataset = load_dataset(str(folder))
    assert dataset.ids == ["linked/d.jpg", "trip/c.JPG"]
    assert dataset.texts == [["a lake"], ["a hill"]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pairs.jsonl", '{"image": "a.jpg", "text": "x"}\n{"image": ', r"pairs\.jsonl:2: not JSON"),
        ("pairs.jsonl", '["a.jpg", "x"]', r"pairs\.jsonl:1: not an object"),
        ("pairs.jsonl", '\n{"text": "x"}', r"pairs\.jsonl:2: no photo"),
        ("pairs.jsonl", '{"image": "a.jpg"}', r"pairs\.jsonl:1: no text"),
        ("pairs.jsonl", '{"image": "a.jpg", "text": " "}', r"pairs\.jsonl:1: no text"),
        ("pairs.jsonl", '{"image": "a.jpg", "texts": "x"}', r"pairs\.jsonl:1: no text"),
        ("pairs.jsonl", '{"image": "a.jpg", "text": "x", "labels": [1]}', r"pairs\.jsonl:1: labels that are not names"),
        ("pairs.jsonl", '{"image": "nosuch.jpg", "text": "x"}', r"pairs\.jsonl:1: there is no photo .*nosuch\.jpg"),
        ("pairs.jsonl", "", "lists no pairs"),
        ("pairs.csv", "photo,text\na.jpg,x\n", r"pairs\.csv:1: no columns named image and text"),
        ("pairs.csv", "image,text\na.jpg,x\nb.jpg,x,y\n", r"pairs\.csv:3: not as many fields"),
        ("pairs.csv", "image,text\na.jpg\n", r"pairs\.csv:2: not as many fields"),
        ("pairs.csv", 'image,text\na.jpg,"x\n', r"pairs\.csv:2: not CSV"),
        ("pairs.csv", "", r"pairs\.csv:1: no columns"),
        ("pairs.tsv", "", "neither a folder nor a list"),
    ],
)
def test_a_broken_row_is_named(folder: Path, name: str, content: str, message: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(HashcliError, match=message):
        load_dataset(str(folder / name))


def test_text_that_is_not_utf8_is_named(folder: Path) -> None:
    for name in ("pairs.jsonl", "pairs.csv", "a.txt"):
        (folder / name).write_bytes(b"image,text\na.jpg,\xff")
        with pytest.raises(HashcliError, match=rf"{name} is not UTF-8 text"):
            load_dataset(str(folder if name == "a.txt" else folder / name))


def test_a_folder_without_texts_says_what_to_write(folder: Path) -> None:
    with pytest.raises(HashcliError, match="holds 3 photos, and none has a text") as raised:
        load_dataset(str(folder))
    assert "photo.txt" in raised.value.remedy
