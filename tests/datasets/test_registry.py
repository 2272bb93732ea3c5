"""The registry of datasets: a new one is a file of its own and one entry."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from hashcli.datasets import homes
from hashcli.datasets.homes import find_root, home_of, remember_root
from hashcli.datasets.registry import DATASETS, load_dataset
from hashcli.datasets.source import Archive
from hashcli.datasets.splits import make_split
from hashcli.errors import HashcliError

TOY = '''
"""Toy: numbered photos in one folder, each with a text file of captions."""

from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset, require
from hashcli.datasets.source import Archive, DatasetSource, Protocol

LAYOUT = "  photos/1.jpg, photos/1.txt ..."


def load(root: Path) -> ImageTextDataset:
    folder = require(root / "photos", "toy", LAYOUT)
    photos = sorted(folder.glob("*.jpg"))
    labels = np.array([[int(photo.stem) % 2, 1] for photo in photos], np.uint8)
    texts = [photo.with_suffix(".txt").read_text().splitlines() for photo in photos]
    return ImageTextDataset("toy", [photo.stem for photo in photos], photos, texts, labels, ["odd", "number"])


def load_odd(root: Path) -> ImageTextDataset:
    whole = load(root)
    rows = np.flatnonzero(whole.labels[:, 0])
    ids, images, texts = ([column[row] for row in rows] for column in (whole.ids, whole.images, whole.texts))
    return ImageTextDataset("toy", ids, images, texts)


SOURCE = DatasetSource(
    "toy",
    load,
    (Protocol("TOY-A", 40, 10, 20, "none"), Protocol("TOY-B", 20, 5, 10, "none", load=load_odd)),
    (Archive("http://127.0.0.1:9/toy.zip"),),
)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root folder of a dataset whose file is new and whose line in the registry is added."""
    (tmp_path / "toy_dataset.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    source = importlib.import_module("toy_dataset").SOURCE
    monkeypatch.setitem(DATASETS, source.name, source)
    folder = tmp_path / "data" / "photos"
    folder.mkdir(parents=True)
    for number in range(40):
        (folder / f"{number}.jpg").touch()
        (folder / f"{number}.txt").write_text(f"photo {number}\nthe same\n")
    return tmp_path / "data"


def test_a_new_dataset_is_a_file_and_one_line(toy: Path) -> None:
    dataset = load_dataset("toy", toy)
    assert (len(dataset.ids), dataset.texts[0]) == (40, ["photo 0", "the same"])
    split = make_split(dataset, seed=0)
    assert (split.protocol, len(split.query), len(split.database)) == ("TOY-A", 10, 30)
    assert len(split.train) + len(split.validation) == 20
    with pytest.raises(HashcliError, match=r"toy: .*photos is not there"):
        load_dataset("toy", toy / "photos")


def test_a_protocol_may_load_other_pairs(toy: Path) -> None:
    dataset = load_dataset("toy", str(toy), "toy-b")
    assert len(dataset.ids) == 20
    assert make_split(dataset, 0, "toy-b").protocol == "TOY-B"


def test_a_new_dataset_is_offered_for_download(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hashcli.datasets import download

    fetched = []

    def fetch(archive: Archive, path: Path, _: object) -> None:
        fetched.append(archive.url)
        path.touch()

    monkeypatch.setattr(download, "_fetch", fetch)
    monkeypatch.setattr(download, "_unpack", lambda *_: None)
    download.download("toy", toy, NoProgress())
    assert fetched == ["http://127.0.0.1:9/toy.zip"]


class NoProgress:
    def planned(self, count: int) -> None: ...
    def advanced(self, count: int) -> None: ...


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """hashcli's data folder, which is empty."""
    monkeypatch.setattr(homes, "user_data_path", lambda _: tmp_path / "user")
    return tmp_path / "user"


def test_a_dataset_is_found_at_home(toy: Path, data_folder: Path) -> None:
    home = data_folder / "datasets" / "toy"
    with pytest.raises(HashcliError) as raised:
        load_dataset("toy")
    assert str(raised.value).startswith(f"toy is not in {home}, where its files belong.")
    assert "give the root folder" in raised.value.remedy
    home.parent.mkdir(parents=True)
    toy.rename(home)
    assert load_dataset("toy").images[0].parent == home / "photos"


def test_a_dataset_is_found_again_where_it_was(toy: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder used last counts, given as from the working directory; going home forgets it."""
    source = DATASETS["toy"]
    monkeypatch.chdir(toy.parent)
    assert remember_root(source, Path(toy.name))
    assert not remember_root(source, toy)
    monkeypatch.chdir("/")
    assert load_dataset("toy").images[0].parent == toy / "photos"
    toy.rename(toy.with_name("moved"))
    with pytest.raises(HashcliError, match=f"toy is not in {toy}, where it was when it was last used"):
        load_dataset("toy")
    assert remember_root(source, data_folder / "datasets" / "toy")
    assert find_root(source) == data_folder / "datasets" / "toy"


def test_both_nuswides_are_in_one_home(data_folder: Path) -> None:
    assert home_of(DATASETS["nuswide10"]) == home_of(DATASETS["nuswide21"]) == data_folder / "datasets" / "nuswide"


def test_neither_a_dataset_nor_a_path() -> None:
    with pytest.raises(HashcliError, match=r"no dataset 'mirflick', .* Did you mean mirflickr") as raised:
        load_dataset("mirflick")
    assert "coco, flickr30k, flickr8k, iapr" in raised.value.remedy


def test_the_dataset_of_the_guide_is_loaded_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of CONTRIBUTING.md, as it stands there, on a small folder in its layout."""
    page = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = re.findall(r'^```python\n("""Birds.*?)^```', page, re.MULTILINE | re.DOTALL)
    module: dict[str, Any] = {"__name__": "birds"}
    exec(compile(example, "CONTRIBUTING.md", "exec"), module)
    monkeypatch.setitem(DATASETS, "birds", module["SOURCE"])

    (tmp_path / "photos").mkdir()
    rows = "".join(f"{n}.jpg,bird {n},{('owl', 'crow')[n % 2]}\n" for n in range(20))
    (tmp_path / "captions.csv").write_text("photo,caption,species\n" + rows)
    dataset = load_dataset("birds", tmp_path)
    assert dataset.images[3] == tmp_path / "photos" / "3.jpg"
    assert (dataset.ids[3], dataset.texts[3], dataset.label_names) == ("3.jpg", ["bird 3"], ["crow", "owl"])
    assert dataset.labels is not None
    assert dataset.labels[3].tolist() == [1, 0]
    split = make_split(dataset, seed=0)
    assert split.protocol == "BIRDS, scaled to 20 of 200 pairs"
    assert (len(split.query), len(split.database)) == (2, 18)
    (tmp_path / "captions.csv").unlink()
    with pytest.raises(HashcliError, match=r"captions\.csv is not there") as raised:
        load_dataset("birds", tmp_path)
    assert "captions.csv with the columns photo, caption, species" in raised.value.remedy
