"""The dataset doctor: what is there, what cannot be read, and what leaks between the parts of a split."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from hashcli.datasets.check import Finding, check_dataset
from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import make_split
from tests.conftest import Run, json_rows
from tests.datasets.layouts import make_mirflickr


def different_photos(folder: Path, count: int) -> ImageTextDataset:
    """Photos of different content, each with one text and a label."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    labels = np.eye(2, dtype=np.uint8)[np.arange(count) % 2]
    return ImageTextDataset("own-x", [path.name for path in paths], paths, [["a"]] * count, labels, ["even", "odd"])


def checked(dataset: ImageTextDataset) -> dict[str, Finding]:
    findings = check_dataset(dataset, make_split(dataset, 0), None, lambda _: None)
    return {finding.what: finding for finding in findings}


def test_a_sound_dataset_has_no_problem(tmp_path: Path) -> None:
    findings = checked(different_photos(tmp_path, 20))
    assert not [finding for finding in findings.values() if finding.is_problem]
    assert findings["pairs"].count == 20
    assert (findings["queries"].count, findings["photos in the database"].count) == (2, 18)


def test_copies_between_the_parts_are_found_by_content(tmp_path: Path) -> None:
    dataset = different_photos(tmp_path, 20)
    split = make_split(dataset, 0)
    query, train = int(split.query[1]), int(split.train[3])
    shutil.copy(dataset.images[train], dataset.images[query])
    findings = checked(dataset)
    leak = findings["queries whose photo is also trained on"]
    assert (leak.count, leak.of, leak.is_problem, leak.examples) == (1, 2, True, (dataset.ids[query],))
    assert findings["queries whose photo is in the database"].count == 1
    (pair,) = findings["photos that are there more than once, under different names"].examples
    assert set(pair.split(" = ")) == {dataset.ids[query], dataset.ids[train]}


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    dataset = different_photos(tmp_path, 20)
    assert dataset.labels is not None
    labels = np.hstack([dataset.labels, np.zeros((20, 1), np.uint8)])
    labels[4] = 0
    dataset.images[3].write_bytes(b"no photo")
    dataset.images[5].unlink()
    names = [*dataset.ids[:-1], dataset.ids[0]]
    texts = [[" "], *dataset.texts[1:]]
    dataset = replace(dataset, ids=names, texts=texts, labels=labels, label_names=["even", "odd", "none"])
    findings = checked(dataset)
    assert findings["photos that cannot be read"].examples == ("3.png", "5.png")
    assert findings["photos without a text"].examples == ("0.png",)
    assert findings["photos without a label"].examples == ("4.png",)
    assert findings["labels that no photo has"].examples == ("none",)
    assert findings["names that several photos have"].examples == ("0.png",)


def test_through_the_command(hashcli: Run, tmp_path: Path) -> None:
    """The layout's photos are few and copies of one another, which the literature's are not."""
    make_mirflickr(tmp_path / "data", photos=60)
    command = ("evaluate", "--check", "mirflickr", "--root", "data")
    rows = {row["what"]: row for row in json_rows(hashcli(*command, "--json", status=1))}
    assert (rows["pairs"]["count"], rows["pairs"]["of"], rows["pairs"]["is_problem"]) == (58, 20_015, True)
    assert rows["queries whose photo is also trained on"]["count"] == 6
    shown = hashcli(*command, status=1).stdout.splitlines()
    assert "problem\tpairs\t58 of 20,015" in shown
    assert "ok\tqueries\t6" in shown
    assert "--check" in hashcli(*command, "--dataset", "mirflickr", status=2).stderr
