"""Datasets in the other forms in which they are passed on: Kaggle's, Karpathy's, and published code's .mat files."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import make_split
from hashcli.errors import HashcliError
from tests.datasets.layouts import (
    copy_photos,
    make_coco,
    make_flickr8k,
    make_flickr30k,
    make_flickr_of_kaggle,
    make_nuswide,
    make_wikipedia,
    write_karpathy,
)


def test_flickr8k_of_kaggle(tmp_path: Path) -> None:
    """By hand: the third photo is not on disk, and a quoted caption has commas."""
    dataset = load_dataset("flickr8k", make_flickr_of_kaggle(tmp_path))
    assert dataset.ids == ["1_a.jpg", "2_b.jpg"]
    assert dataset.texts == [["A dog runs .", "A dog , wet , runs ."], ["A child ."]]
    assert all(path.exists() for path in dataset.images)
    assert dataset.parts == {}
    assert "1 of 3 photos with captions are not on disk" in dataset.missing
    assert "none of the lists of the publisher's split is on disk" in dataset.missing
    assert make_split(dataset, 0).protocol == "ours, 1 of 2 pairs as query"


def test_flickr8k_by_karpathys_list(tmp_path: Path) -> None:
    """His list decides parts and captions, and the publisher's are not needed."""
    root = make_flickr8k(tmp_path, train=2, dev=1)
    for path in root.glob("*.txt"):
        path.unlink()
    names = [f"photo{number}.jpg" for number in range(3)]
    photos = list(zip(names, [""] * 3, ["val", "train", "test"], strict=True))
    write_karpathy(root / "dataset_flickr8k.json", photos, {name: [f"{name}  here"] for name in names})
    dataset = load_dataset("flickr8k", root)
    assert {part: [dataset.ids[row] for row in rows] for part, rows in dataset.parts.items()} == {
        "dev": ["photo0.jpg"],
        "train": ["photo1.jpg"],
        "test": ["photo2.jpg"],
    }
    assert dataset.texts[0] == ["photo0.jpg here"]
    assert dataset.missing == ""


@pytest.mark.parametrize("form", ["results_20130124.token", "results.csv", "dataset_flickr30k.json"])
@pytest.mark.parametrize("photos", ["flickr30k-images", "flickr30k_images", "flickr30k_images/flickr30k_images"])
def test_flickr30k_in_each_form(tmp_path: Path, form: str, photos: str) -> None:
    dataset = load_dataset("flickr30k", make_flickr30k(tmp_path, form, photos))
    assert sorted(dataset.ids) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert dataset.texts[dataset.ids.index("2.jpg")] == ["2.jpg is one .", "2.jpg is two ."]
    assert all(path.exists() for path in dataset.images)
    if form == "dataset_flickr30k.json":
        split = make_split(dataset, 0)
        assert [dataset.ids[row] for row in split.query] == ["1.jpg"]
        assert sorted(dataset.ids[row] for row in [*split.train, *split.validation]) == ["2.jpg", "4.jpg"]


def test_a_list_that_is_not_karpathys(tmp_path: Path) -> None:
    root = make_flickr30k(tmp_path, "dataset_flickr30k.json")
    (root / "dataset_flickr30k.json").write_text('{"images": [{"filename": "1.jpg", "split": "extra"}]}')
    with pytest.raises(HashcliError, match=r"dataset_flickr30k\.json is not one of Karpathy's lists"):
        load_dataset("flickr30k", root)


@pytest.mark.parametrize("flat", [False, True])
def test_coco_below_images(tmp_path: Path, flat: bool) -> None:
    root = make_coco(tmp_path)
    (root / "images").mkdir()
    for part in ("train2017", "val2017"):
        if flat:
            shutil.copytree(root / part, root / "images", dirs_exist_ok=True)
            shutil.rmtree(root / part)
        else:
            (root / part).rename(root / "images" / part)
    dataset = load_dataset("coco", root)
    assert dataset.ids == ["2", "3", "5", "6"]
    assert all(path.exists() and "images" in path.parts for path in dataset.images)


def test_coco_evaluates_one_caption_by_the_hashing_protocol_and_all_by_another(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    one, every = load_dataset("coco", root, "COCO"), load_dataset("coco", root, "coco-all")
    assert one.texts[2] == every.texts[2] == every.searched_texts(2) == ["caption 0 of 5", "caption 1 of 5"]
    assert one.searched_texts(2) == ["caption 0 of 5"]


@pytest.mark.parametrize("year", [2014, 2017])
def test_coco_by_karpathys_list(tmp_path: Path, year: int) -> None:
    """The 5,000 test photos, or one of five folds of them by the seed; restval is trained on. Photos by either release
    of COCO, whose names differ."""
    names = [f"COCO_val2014_{number:012}.jpg" for number in range(14)]
    on_disk = names if year == 2014 else [name.rpartition("_")[2] for name in names]
    copy_photos(tmp_path / f"val{year}", on_disk[:13])
    split_of = ["train", "restval", "val", *["test"] * 10, "test"]
    photos = [(name, "val2014", part) for name, part in zip(names, split_of, strict=True)]
    (tmp_path / "annotations").mkdir()
    texts = {name: [f"caption {i} of {name}" for i in range(5)] for name in names}
    write_karpathy(tmp_path / "annotations" / "dataset_coco.json", photos, texts)

    dataset = load_dataset("coco", tmp_path, "COCO-5K")
    assert dataset.labels is None
    assert [len(texts) for texts in dataset.texts] == [5] * 13
    assert [path.name for path in dataset.images] == on_disk[:13]
    assert dataset.missing == "13 of 14 photos are on disk"
    whole = make_split(dataset, 0, "COCO-5K")
    assert (whole.protocol, whole.query.tolist()) == ("COCO-5K", list(range(3, 13)))
    assert whole.database.tolist() == whole.query.tolist()
    assert sorted([*whole.train, *whole.validation]) == [0, 1]
    folds = [make_split(dataset, seed, "COCO-1K") for seed in range(5)]
    assert [fold.query.tolist() for fold in folds] == [[3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]
    assert folds[1].protocol == "COCO-1K, fold 1 of 5"


def test_nuswide_with_all_photos_in_one_folder(tmp_path: Path) -> None:
    root = make_nuswide(tmp_path)
    (root / "images").mkdir()
    for path in list((root / "Flickr").glob("*/*.jpg")):
        path.rename(root / "images" / path.name)
    shutil.rmtree(root / "Flickr")
    dataset = load_dataset("nuswide10", root)
    assert dataset.ids == ["actor/0000_900.jpg", "zoo/0005_905.jpg"]
    assert all(path.exists() for path in dataset.images)


@pytest.mark.parametrize("below", ["", "wikipedia_dataset"])
def test_wikipedia_reads_the_official_layout(tmp_path: Path, below: str) -> None:
    make_wikipedia(tmp_path / below)
    dataset = load_dataset("wikipedia", tmp_path)
    assert dataset.ids == ["p1", "p2", "p4", "p5"]
    assert dataset.texts[0] == ["The t-1 & its photo."]
    assert dataset.labels is not None
    assert [dataset.label_names[column] for column in dataset.labels.argmax(axis=1)] == [
        *("art", "sport", "warfare", "sport")
    ]
    assert dataset.missing == "4 of 5 pairs are on disk"
    split = make_split(dataset, 0)
    assert (split.query.tolist(), sorted(split.database.tolist())) == ([2, 3], [0, 1])


def test_wikipedia_names_a_line_that_is_no_pair(tmp_path: Path) -> None:
    path = make_wikipedia(tmp_path) / "testset_txt_img_cat.list"
    path.write_text("t-4\tp4\t11\n")
    with pytest.raises(HashcliError, match=r"testset_txt_img_cat\.list:1: not a text, an image and a category"):
        load_dataset("wikipedia", tmp_path)


def make_mat(root: Path, label: str = "category", captions: str = "caption.mat") -> Path:
    """30 photos below mirflickr/, with the paths of another machine; classes by turns of three."""
    scipy_io = pytest.importorskip("scipy.io")
    names = [f"mirflickr/im{number}.jpg" for number in range(30)]
    copy_photos(root, names)
    scipy_io.savemat(root / "index.mat", {"index": np.array([f"/home/them/data/{name}" for name in names])})
    scipy_io.savemat(root / "label.mat", {label: np.eye(3)[np.arange(30) % 3]})
    texts = [[f"photo {number}", "more"] if number % 2 else [f"photo {number}"] for number in range(30)]
    if captions == "caption.mat":
        cells = np.empty((1, 30), object)
        for number, several in enumerate(texts):
            cells[0, number] = np.array(several)
        scipy_io.savemat(root / captions, {"caption": cells})
    else:
        (root / captions).write_text("".join(f"{several[0]}\n" for several in texts))
    return root


@pytest.mark.parametrize("label", ["category", "label"])
@pytest.mark.parametrize("captions", ["caption.mat", "caption.txt", "all_tags.txt"])
def test_the_mat_files_of_published_code(tmp_path: Path, label: str, captions: str) -> None:
    dataset = load_dataset("mat", make_mat(tmp_path, label, captions))
    assert dataset.ids[:2] == ["mirflickr/im0.jpg", "mirflickr/im1.jpg"]
    assert dataset.images[1] == tmp_path / "mirflickr" / "im1.jpg"
    assert dataset.texts[:2] == [["photo 0"], ["photo 1", "more"] if captions == "caption.mat" else ["photo 1"]]
    assert dataset.labels is not None
    assert dataset.labels[:4].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert dataset.missing == ""


def test_tags_that_begin_with_the_photos_number(tmp_path: Path) -> None:
    """All_Tags.txt of NUS-WIDE has it before each photo's tags."""
    make_mat(tmp_path, captions="all_tags.txt")
    pytest.importorskip("scipy.io").savemat(
        tmp_path / "index.mat", {"index": np.array([f"mirflickr/{number}_900{number}.jpg" for number in range(30)])}
    )
    copy_photos(tmp_path / "mirflickr", [f"{number}_900{number}.jpg" for number in range(30)])
    lines = [f"900{number}      dog sky" for number in range(29)] + ["77 dog"]
    (tmp_path / "all_tags.txt").write_text("\n".join(lines) + "\n")
    dataset = load_dataset("mat", tmp_path)
    assert (dataset.texts[0], dataset.texts[29]) == (["dog sky"], ["77 dog"])


def test_mat_files_of_different_lengths_are_refused(tmp_path: Path) -> None:
    (make_mat(tmp_path, captions="caption.txt") / "caption.txt").write_text("one\n")
    with pytest.raises(HashcliError, match=r"index\.mat has 30 photos, label\.mat \[30, 3\] labels, .* texts of 1\."):
        load_dataset("mat", tmp_path)


def test_the_split_of_published_code_is_repeated(tmp_path: Path) -> None:
    """NumPy's old generator, as it is called there; 30 of the 15,360 pairs make 10 queries and 20 to train."""
    dataset = load_dataset("mat", make_mat(tmp_path), "DCHMT")
    np.random.seed(1814)
    order = np.random.permutation(range(30))
    split = make_split(dataset, 1814, "DCHMT")
    assert split.query.tolist() == order[:10].tolist()
    assert split.database.tolist() == order[10:].tolist()
    assert [*split.validation, *split.train] == order[10:30].tolist()
    (tmp_path / "mirflickr" / "im7.jpg").unlink()
    warnings = make_split(load_dataset("mat", tmp_path), 1814, "DCHMT").warnings
    assert any("not that of the published code" in warning for warning in warnings)
