"""Datasets from their official layouts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hashcli.datasets import synthetic
from hashcli.datasets.mirflickr import load
from hashcli.datasets.nuswide import CONCEPTS_10, CONCEPTS_21
from hashcli.datasets.registry import DATASETS, load_dataset
from hashcli.errors import HashcliError
from tests.datasets.layouts import DATA, make_coco, make_flickr8k, make_iapr, make_mirflickr, make_nuswide


def test_mirflickr_reads_the_official_layout(tmp_path: Path) -> None:
    """By hand: photo 3 has no tag and photo 4 no label, so both go; `_r1` files are not labels."""
    dataset = load(make_mirflickr(tmp_path, photos=6))
    assert dataset.ids == ["im1", "im2", "im5", "im6"]
    assert dataset.label_names == ["dog", "sky"]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert dataset.texts[0] == ["common tag1"]
    assert all(path.exists() for path in dataset.images)
    assert dataset.missing == "6 of 25,000 photos are on disk"


def test_mirflickr_as_mir_d_takes_it(tmp_path: Path) -> None:
    """Every photo with a label, with all its tags: photo 3 too, which has none."""
    dataset = load_dataset("mirflickr", make_mirflickr(tmp_path, photos=6), "MIR-D")
    assert dataset.ids == ["im1", "im2", "im3", "im5", "im6"]
    assert dataset.texts[:3] == [["common tag1"], ["common tag2"], [""]]


def test_flickr8k_reads_the_official_layout(tmp_path: Path) -> None:
    dataset = load_dataset("flickr8k", make_flickr8k(tmp_path, train=6, dev=4))
    assert len(dataset.ids) == 10
    assert dataset.parts["dev"].tolist() == [6, 7, 8, 9]
    assert dataset.texts[7] == [f"caption {i} of photo 7" for i in range(5)]


def test_flickr8k_says_which_photos_are_missing(tmp_path: Path) -> None:
    root = make_flickr8k(tmp_path, train=6, dev=4)
    (root / "Flicker8k_Dataset" / "photo8.jpg").unlink()
    dataset = load_dataset("flickr8k", root)
    assert dataset.parts["dev"].tolist() == [6, 7, 8]
    assert dataset.missing == "1 of 4 dev photos are not on disk, and the test list is not on disk"


def test_mirflickr_names_a_file_that_is_not_a_list_of_photos(tmp_path: Path) -> None:
    folder = make_mirflickr(tmp_path, photos=6) / "mirflickr25k_annotations_v080"
    (folder / "dog.txt").write_text("1\n25001\n")
    with pytest.raises(HashcliError, match=r"dog\.txt is not a list of photo numbers from 1 to 25000: .*25001"):
        load(tmp_path)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(HashcliError, match="mirflickr25k_annotations_v080 holds no labels"):
        load(tmp_path)


@pytest.mark.parametrize("year", [2014, 2017])
def test_coco_reads_the_official_layout(tmp_path: Path, year: int) -> None:
    """By hand: photo 1 shows nothing and photo 4 is not on disk; two cats in photo 5 are one label."""
    dataset = load_dataset("coco", make_coco(tmp_path, year))
    assert dataset.ids == ["2", "3", "5", "6"]
    assert dataset.label_names == ["cat", "dog"]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [[0, 1], [1, 0], [1, 0], [1, 1]]
    assert dataset.texts[2] == ["caption 0 of 5", "caption 1 of 5"]
    folders = [path.parent.name for path in dataset.images]
    assert folders == [f"train{year}", f"train{year}", f"val{year}", f"val{year}"]
    assert all(path.exists() for path in dataset.images)
    assert dataset.missing == "5 of 123,287 photos are on disk"


def test_coco_takes_one_part_alone(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    (root / "annotations" / "captions_train2017.json").unlink()
    assert load_dataset("coco", root).ids == ["5", "6"]


def test_coco_names_a_file_cut_short(tmp_path: Path) -> None:
    path = make_coco(tmp_path) / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(HashcliError, match=r"instances_val2017\.json is not JSON"):
        load_dataset("coco", tmp_path)


@pytest.mark.parametrize(("name", "numbers"), [("nuswide10", [0, 5]), ("nuswide21", [0, 1, 5])])
def test_nuswide_reads_the_official_layout(tmp_path: Path, name: str, numbers: list[int]) -> None:
    """By hand: see `make_nuswide` for why the other photos go; only the 21 concepts have `tree`."""
    dataset = load_dataset(name, make_nuswide(tmp_path))
    assert [int(path.stem[-3:]) - 900 for path in dataset.images] == numbers
    assert dataset.ids[0] == "actor/0000_900.jpg"
    assert dataset.texts[0] == ["nature blue"]
    assert dataset.texts[-1] == ["blue"]
    assert dataset.labels is not None
    shown = [{dataset.label_names[column] for column in np.flatnonzero(row)} for row in dataset.labels]
    assert shown[0] == {"animal", "lake"}
    assert shown[-1] == {"clouds", "sky"}
    assert all(path.exists() for path in dataset.images)
    assert dataset.missing == "5 of 269,648 photos are on disk"


def test_nuswide_has_10_concepts_among_21() -> None:
    assert (len(CONCEPTS_10), len(CONCEPTS_21)) == (10, 21)
    assert set(CONCEPTS_10) < set(CONCEPTS_21)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("Groundtruth/AllLabels/Labels_sky.txt", "0\n1\n", r"Labels_sky\.txt has 2 lines, but Imagelist\.txt names 6"),
        ("NUS_WID_Tags/AllTags1k.txt", "1 0 1\n1 0\n", r"AllTags1k\.txt:2: 2 columns, but TagList1k\.txt has 3 words"),
        ("NUS_WID_Tags/AllTags1k.txt", "1 0 1\n", r"AllTags1k\.txt has 1 lines"),
    ],
)
def test_nuswide_refuses_files_that_do_not_belong_together(
    tmp_path: Path, path: str, content: str, message: str
) -> None:
    (make_nuswide(tmp_path) / path).write_text(content)
    with pytest.raises(HashcliError, match=message):
        load_dataset("nuswide21", tmp_path)


def test_iapr_has_labels_with_the_extension(tmp_path: Path) -> None:
    """By hand: photo 10 has no description and photo 11 no region; `bridge` labels nothing and is no class."""
    dataset = load_dataset("iapr", make_iapr(tmp_path, labels=True))
    assert dataset.ids == ["9", "1000"]
    assert dataset.label_names == ["branch", "cloud"]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [[1, 1], [0, 1]]
    assert dataset.texts[0] == ["a café & 9 people;"]
    assert all(path.exists() for path in dataset.images)
    assert dataset.missing == "4 of 20,000 photos are on disk"


def test_iapr_has_no_labels_without_the_extension(tmp_path: Path) -> None:
    dataset = load_dataset("iapr", make_iapr(tmp_path, labels=False))
    assert dataset.ids == ["9", "11", "1000"]
    assert dataset.labels is None
    assert "SAIAPR" in dataset.missing


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"synthetic"}))
def test_what_is_missing_is_named_with_the_layout(tmp_path: Path, name: str) -> None:
    with pytest.raises(HashcliError, match=r"is not there") as raised:
        load_dataset(name, tmp_path)
    assert ".jpg" in raised.value.remedy


@pytest.mark.parametrize(("name", "make"), [("coco", make_coco), ("nuswide21", make_nuswide)])
def test_no_photo_at_all(tmp_path: Path, name: str, make: Callable[[Path], Path]) -> None:
    for path in make(tmp_path).glob("**/*.jpg"):
        path.unlink()
    with pytest.raises(HashcliError, match="none of the photos"):
        load_dataset(name, tmp_path)


@pytest.mark.skipif(not (DATA / "mirflickr25k").is_dir(), reason="MIRFlickr is not on disk")
def test_the_real_mirflickr_has_the_fields_24_labels() -> None:
    dataset = load(DATA / "mirflickr25k")
    assert len(dataset.label_names) == 24
    assert {"animals", "plant_life", "water"} <= set(dataset.label_names)
    assert len(dataset.ids) <= 20_015


def test_the_synthetic_dataset_is_drawn_once_and_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "PHOTOS", 24)
    first = load_dataset("synthetic", tmp_path / "a")
    again = load_dataset("synthetic", tmp_path / "b")
    assert [path.read_bytes() for path in first.images] == [path.read_bytes() for path in again.images]
    assert first.labels is not None
    assert (first.labels.sum(axis=1) == 2).all()
    assert first.texts[0] == ["a red circle"]
