"""Splits by the field's protocols, by the publisher's parts and for your own data; recorded and read again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import DATASETS, load_dataset
from hashcli.datasets.splits import Split, check_disjoint, make_split, read_split, training_overlap
from hashcli.errors import HashcliError
from tests.datasets.layouts import make_flickr8k, make_mirflickr


def bare(name: str, count: int, labelled: bool = True) -> ImageTextDataset:
    """A dataset of any size, without photos."""
    labels = np.ones((count, 24), np.uint8) if labelled else None
    return ImageTextDataset(name, [f"im{i}" for i in range(count)], [Path()] * count, [["x"]] * count, labels)


@pytest.mark.parametrize(
    ("name", "query", "train", "database"),
    [
        ("coco", 5000, 10_000, 117_218),
        ("iapr", 2000, 5000, 18_000),
        ("mirflickr", 2000, 10_000, 18_015),
        ("nuswide10", 2100, 5000, 184_477),
        ("nuswide21", 2100, 10_500, 188_321),
    ],
)
def test_protocols_at_their_official_size(name: str, query: int, train: int, database: int) -> None:
    """The sizes that the papers print; a tenth of the training set is validation."""
    dataset = bare(name, DATASETS[name].protocols[0].pairs)
    split = make_split(dataset, seed=0)
    assert (len(split.query), len(split.database)) == (query, database)
    assert (len(split.train), len(split.validation)) == (train * 9 // 10, train // 10)
    assert np.isin(np.concatenate([split.train, split.validation]), split.database).all()
    assert np.array_equal(np.sort(np.concatenate([split.query, split.database])), np.arange(len(dataset.ids)))
    assert not split.warnings


@pytest.mark.parametrize(
    ("protocol", "count", "query", "train"),
    [("MIR-A", 20_015, 2000, 10_000), ("mir-c", 20_015, 2000, 18_015), ("MIR-D", 24_581, 5000, 10_000)],
)
def test_protocols_of_mirflickr(protocol: str, count: int, query: int, train: int) -> None:
    split = make_split(bare("mirflickr", count), 0, protocol)
    assert split.protocol == protocol.upper()
    assert (len(split.query), len(split.database)) == (query, count - query)
    assert len(split.train) + len(split.validation) == train


def test_a_protocol_that_draws_label_by_label() -> None:
    """MIR-B: 160 queries of the first label and 80 of each other; training 400 and 200, then any up to 5,000."""
    rng = np.random.default_rng(0)
    dataset = bare("mirflickr", 20_015)
    labels = (rng.random((20_015, 24)) < 0.15).astype(np.uint8)
    labels[:, 23] = 0
    labels[:90, 23] = 1  # a rare one: only 90 have it, some of which go to labels before
    labels[:90, :23] = 0
    split = make_split(replace(dataset, labels=labels), 0, "MIR-B")
    assert len(split.query) == 160 + 23 * 80
    assert sorted([*split.query, *split.database]) == list(range(20_015))
    trained = np.concatenate([split.validation, split.train])
    assert len(trained) == 5000
    assert labels[split.query, 23].sum() == 80
    assert labels[trained, 23].sum() == 10
    assert labels[split.query, 0].sum() > 160
    for column in (0, 1, 22):  # validation is drawn from all that is trained on, not from those of the first labels
        shares = [labels[part, column].mean() for part in (split.train, split.validation)]
        assert shares[0] == pytest.approx(shares[1], abs=0.08)
    part = make_split(replace(bare("mirflickr", 2001), labels=labels[:2001]), 0, "MIR-B")
    assert len(part.query) == 16 + 23 * 8
    assert len(part.train) + len(part.validation) == 500


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(HashcliError, match="mirflickr has no protocol 'MIR-X'") as raised:
        make_split(bare("mirflickr", 100), 0, "MIR-X")
    assert "MIR-A, MIR-B, MIR-C, MIR-D" in raised.value.remedy
    with pytest.raises(HashcliError, match="own-holiday has no protocol 'MIR-A'"):
        make_split(bare("own-holiday", 100), 0, "MIR-A")


def test_the_seed_decides(tmp_path: Path) -> None:
    dataset = bare("mirflickr", 20_015)
    first, again, other = (make_split(dataset, seed) for seed in (0, 0, 1))
    assert first.checksum == again.checksum != other.checksum
    assert first.database.tolist() != sorted(first.database)  # its order decides ties


def test_publishers_parts(tmp_path: Path) -> None:
    dataset = load_dataset("flickr8k", make_flickr8k(tmp_path, train=6, dev=4))
    split = make_split(dataset, seed=0)
    assert split.query.tolist() == split.database.tolist() == [6, 7, 8, 9]
    assert sorted([*split.train, *split.validation]) == list(range(6))
    assert "test list is not on disk" in split.warnings[0]
    (tmp_path / "Flickr_8k.devImages.txt").unlink()
    with pytest.raises(HashcliError, match="neither the test nor the dev list"):
        make_split(load_dataset("flickr8k", tmp_path), seed=0)


def test_a_part_scales_the_protocol_down_and_says_so(tmp_path: Path) -> None:
    split = make_split(load_dataset("mirflickr", make_mirflickr(tmp_path, photos=60)), seed=0)
    assert "scaled" in split.protocol
    assert len(split.warnings) == 2


@pytest.mark.parametrize(("count", "query"), [(4, 1), (100, 10), (50_000, 2000)])
def test_own_data_has_a_tenth_as_query(count: int, query: int) -> None:
    split = make_split(bare("own-holiday", count), seed=0)
    assert (len(split.query), len(split.database)) == (query, count - query)
    assert sorted([*split.train, *split.validation]) == sorted(split.database)
    assert "ours" in split.protocol


def test_without_labels_the_held_out_photos_are_the_database() -> None:
    split = make_split(bare("own-holiday", 100, labelled=False), seed=0)
    assert split.query.tolist() == split.database.tolist()
    assert len(split.query) == 10
    assert len(split.train) + len(split.validation) == 90


def test_own_photos_without_labels_are_trained_on_and_nothing_else() -> None:
    """Query, database and validation set are drawn from those with labels."""
    dataset = bare("own-holiday", 100)
    assert dataset.labels is not None
    dataset.labels[:60] = 0
    split = make_split(dataset, seed=0)
    assert (len(split.query), len(split.database), len(split.validation), len(split.train)) == (4, 36, 4, 92)
    assert min(*split.query, *split.database, *split.validation) >= 60
    assert set(range(60)) < set(split.train.tolist())
    assert split.protocol == "ours, 4 of 40 pairs as query"


@pytest.mark.parametrize(("name", "count"), [("own-holiday", 1), ("mirflickr", 2)])
def test_too_few_pairs(name: str, count: int) -> None:
    with pytest.raises(HashcliError, match="too few"):
        make_split(bare(name, count), seed=0)


def test_an_overlap_is_refused() -> None:
    rows = np.arange(10)
    for query, train, validation in ((rows, rows[9:], rows[:0]), (rows, rows[:0], rows[5:6]), (rows[:0], rows, rows)):
        with pytest.raises(ValueError, match="are in both"):
            check_disjoint(Split("", 0, query, rows, train, validation, "", []))


def test_a_recorded_split_is_read_again(tmp_path: Path) -> None:
    """Even when the data on disk are in another order."""
    dataset = bare("own-holiday", 50)
    split = make_split(dataset, seed=3)
    (tmp_path / "split.json").write_text(split.to_json(dataset))
    turned = ImageTextDataset(dataset.name, dataset.ids[::-1], dataset.images, dataset.texts, dataset.labels)
    again = read_split(tmp_path / "split.json", turned)
    for part in ("query", "database", "train", "validation"):
        rows, rows_again = getattr(split, part), getattr(again, part)
        assert [dataset.ids[row] for row in rows] == [turned.ids[row] for row in rows_again]
        assert rows_again.dtype == np.int64
    assert (again.checksum, again.protocol, again.seed) == (split.checksum, split.protocol, 3)


def test_a_recorded_split_of_something_else_is_refused(tmp_path: Path) -> None:
    dataset = bare("own-holiday", 50)
    path = tmp_path / "split.json"
    recorded = json.loads(make_split(dataset, seed=0).to_json(dataset))
    for change, message in (
        ({"query": recorded["query"][1:]}, "checksum"),
        ({"query": ["nosuch", *recorded["query"]]}, "names 1 photos .* such as nosuch"),
        ({"dataset": "coco"}, "is a split of coco, not of own-holiday"),
        ({"seed": "x"}, "is not a recorded split"),
    ):
        path.write_text(json.dumps(recorded | change))
        with pytest.raises(HashcliError, match=message):
            read_split(path, dataset)
    path.write_text("[]")
    with pytest.raises(HashcliError, match="is not a recorded split"):
        read_split(path, dataset)
    with pytest.raises(HashcliError, match="cannot be read"):
        read_split(tmp_path / "nowhere.json", dataset)


def test_queries_that_a_run_has_trained_on_are_counted(tmp_path: Path) -> None:
    dataset = bare("own-holiday", 50)
    own, other = make_split(dataset, 0), make_split(dataset, 1)
    path = tmp_path / "split.json"
    assert training_overlap(path, dataset, own) == ""  # no run's model
    path.write_text(own.to_json(dataset))
    assert training_overlap(path, dataset, own) == ""
    shared = len(np.intersect1d(own.train, other.query))
    assert shared
    assert f"trained on {shared} of the 5 queries of seed 1" in training_overlap(path, dataset, other)
    assert training_overlap(path, replace(dataset, name="own-other"), other) == ""
    path.write_text("[]")
    assert training_overlap(path, dataset, other) == ""
