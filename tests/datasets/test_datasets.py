"""Datasets from their official layouts, and the splits made of them."""

from pathlib import Path

import numpy as np
import pytest

from hashcli.datasets.mirflickr import load
from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import PROTOCOLS, Split, check_disjoint, make_split
from hashcli.errors import HashcliError
from tests.datasets.layouts import make_flickr8k, make_mirflickr
from tests.test_retrieval import DATA


def test_mirflickr_reads_the_official_layout(tmp_path: Path) -> None:
    """By hand: photo 3 has no tag and photo 4 no label, so both go; `_r1` files are no labels."""
    pairs = load(make_mirflickr(tmp_path, photos=6))
    assert pairs.ids == ["im1", "im2", "im5", "im6"]
    assert pairs.label_names == ["dog", "sky"]
    assert pairs.labels is not None
    assert pairs.labels.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert pairs.texts[0] == ["common tag1"]
    assert all(path.exists() for path in pairs.images)
    assert pairs.missing == "6 of 25,000 photos are on disk"


def test_flickr8k_reads_the_official_layout(tmp_path: Path) -> None:
    pairs = load_dataset("flickr8k", make_flickr8k(tmp_path, train=6, dev=4))
    assert len(pairs.ids) == 10
    assert pairs.parts["dev"].tolist() == [6, 7, 8, 9]
    assert pairs.texts[7] == [f"caption {i} of photo 7" for i in range(5)]
    split = make_split(pairs, seed=0)
    assert split.query.tolist() == split.database.tolist() == [6, 7, 8, 9]
    assert sorted([*split.train, *split.validation]) == list(range(6))
    assert "test list is not on disk" in split.warnings[0]


@pytest.mark.parametrize("name", ["mirflickr", "flickr8k"])
def test_what_is_missing_is_named_with_the_layout(tmp_path: Path, name: str) -> None:
    with pytest.raises(HashcliError, match=r"is not there") as raised:
        load_dataset(name, tmp_path)
    assert ".jpg" in raised.value.remedy


def test_the_mirflickr_protocol(tmp_path: Path) -> None:
    """2,000 query, 10,000 train, database all but query: checked on a dataset of the official size without photos."""
    from hashcli.datasets.pairs import Pairs

    n = PROTOCOLS["mirflickr"].pairs
    pairs = Pairs("mirflickr", [f"im{i}" for i in range(n)], [Path()] * n, [["x"]] * n, np.ones((n, 24), np.uint8))
    split = make_split(pairs, seed=0)
    assert (len(split.query), len(split.database)) == (2000, 18_015)
    assert (len(split.train), len(split.validation)) == (9000, 1000)
    assert set(split.train) | set(split.validation) <= set(split.database)
    assert not split.warnings
    assert make_split(pairs, seed=0).checksum == split.checksum != make_split(pairs, seed=1).checksum


def test_a_part_scales_the_protocol_down_and_says_so(tmp_path: Path) -> None:
    split = make_split(load(make_mirflickr(tmp_path, photos=60)), seed=0)
    assert "scaled" in split.protocol
    assert len(split.warnings) == 2


def test_an_overlap_is_refused_loudly() -> None:
    rows = np.arange(10)
    for query, train, validation in ((rows, rows[9:], rows[:0]), (rows, rows[:0], rows[5:6]), (rows[:0], rows, rows)):
        with pytest.raises(ValueError, match="are in both"):
            check_disjoint(Split("", 0, query, rows, train, validation, "", []))


@pytest.mark.skipif(not (DATA / "mirflickr25k").is_dir(), reason="MIRFlickr is not on disk")
def test_the_real_mirflickr_has_the_fields_24_labels() -> None:
    pairs = load(DATA / "mirflickr25k")
    assert len(pairs.label_names) == 24
    assert {"animals", "plant_life", "water"} <= set(pairs.label_names)
    assert len(pairs.ids) <= 20_015
