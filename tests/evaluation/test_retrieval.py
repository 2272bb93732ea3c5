"""Codes of a dataset searched in both directions; and how well lite-256 does, where Flickr8k is on disk."""

import json
from pathlib import Path

import numpy as np
import pytest

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import make_split
from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import evaluate_labels
from hashcli.evaluation.retrieval import (
    DatasetCodes,
    EvaluatedRows,
    check_averageable,
    encode_dataset,
    evaluate_codes,
    evaluate_fully,
    evaluated_rows,
    headline,
    read_codes,
)
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.registry import load_model
from tests.conftest import SKIMAGE
from tests.datasets.layouts import DATA
from tests.evaluation.saved import save_codes

FLICKR8K = DATA / "flickr8k"


@pytest.fixture
def codes() -> DatasetCodes:
    """Rows 2, 5 and 9, with one, two and one texts. A code is its row; a text's second byte is its number."""
    images = np.array([[2, 0], [5, 0], [9, 0]], np.uint8)
    texts = np.array([[2, 0], [5, 1], [5, 2], [9, 3]], np.uint8)
    return DatasetCodes(np.array([2, 5, 9]), np.array([2, 5, 5, 9]), {"image": images, "text": texts})


def test_both_directions_in_the_order_of_the_rows(codes: DatasetCodes) -> None:
    to_text, to_image = codes.directions(np.array([9, 5]), np.array([5, 2]))
    assert (to_text.name, to_image.name) == ("image to text", "text to image")
    assert to_text.query_codes[:, 0].tolist() == to_text.query_rows.tolist() == [9, 5]
    assert to_text.database_rows.tolist() == [5, 5, 2]
    assert to_text.database_codes.tolist() == [[5, 1], [5, 2], [2, 0]]
    assert to_image.query_codes.tolist() == [[9, 3], [5, 1], [5, 2]]
    assert to_image.database_codes.tolist() == [[5, 0], [2, 0]]


def test_codes_of_one_kind_are_searched_among_themselves(codes: DatasetCodes) -> None:
    alone = DatasetCodes(codes.rows, codes.text_rows, {"image": codes.packed["image"]})
    (direction,) = alone.directions(np.array([2]), np.array([5, 9]))
    assert direction.name == "image to image"
    assert direction.database_rows.tolist() == [5, 9]


def test_no_query_is_in_the_database_of_its_own_kind(codes: DatasetCodes) -> None:
    to_image, to_text = codes.directions_within(np.array([9, 5]), np.array([5, 2]))
    assert (to_image.name, to_text.name) == ("image to image", "text to text")
    assert to_image.query_rows.tolist() == [9, 5]
    assert to_image.database_rows.tolist() == to_text.database_rows.tolist() == [2]
    alone = DatasetCodes(codes.rows, codes.text_rows, {"image": codes.packed["image"]})
    assert not list(alone.directions_within(np.array([9]), np.array([5, 2])))


def test_captions_of_a_querys_own_photo_are_not_to_be_found() -> None:
    """Photos 0 and 1 are queries, and the database has them too; all captions of a photo have one code."""
    codes = np.array([[0], [255], [0], [255]], np.uint8)
    packed = {"image": codes, "text": codes.repeat(5, axis=0)}
    own = DatasetCodes(np.arange(4), np.arange(4).repeat(5), packed)
    labels = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.uint8)  # the nearest other to photo 0 has another label
    to_text = evaluate_fully(own, labels, EvaluatedRows(np.arange(2), np.arange(4)))["text to text"]
    precision = {metric.name: metric.value for metric in to_text.metrics}["precision@1"]
    assert precision == 0.5


def test_all_that_is_evaluated_with_labels() -> None:
    """Each figure is that of a direct call on the right rows."""
    rng = np.random.default_rng(0)
    rows = np.arange(60)
    packed = {"image": rng.integers(0, 256, (60, 2), np.uint8), "text": rng.integers(0, 256, (120, 2), np.uint8)}
    codes = DatasetCodes(rows, rows.repeat(2), packed)
    labels = rng.integers(0, 2, (60, 3), np.uint8)
    query, database, unseen = rows[:10], rng.permutation(rows[10:]), rows[40:]
    reports = evaluate_fully(codes, labels, EvaluatedRows(query, database, unseen))
    assert list(reports) == [
        *("image to text", "text to image", "image to text, unseen database", "text to image, unseen database"),
        *("image to image", "text to text"),
    ]
    plain = evaluate_codes(codes, labels, query, database)
    own = evaluate_codes(codes, None, query, query)
    for name, report in plain.items():
        count = len(report.metrics)
        assert reports[name].metrics[:count] == report.metrics
        assert reports[name].metrics[count].name == "recall@1 (own pair among queries)"
        assert [m.value for m in reports[name].metrics[count:]] == [m.value for m in own[name].metrics]
    assert reports["text to image, unseen database"] == evaluate_codes(codes, labels, query, unseen)["text to image"]
    within = evaluate_labels(packed["image"][query], labels[query], packed["image"][database], labels[database])
    assert reports["image to image"] == within
    everything = EvaluatedRows(query, database, database)
    assert not [name for name in evaluate_fully(codes, labels, everything) if "unseen" in name]
    assert evaluate_fully(codes, None, EvaluatedRows(query, query)) == own


def test_saved_codes_know_which_rows_were_not_trained_on(tmp_path: Path) -> None:
    arrays = save_codes(tmp_path / "codes-16.npz")
    assert read_codes(tmp_path / "codes-16.npz").unseen is None
    ids = [f"im{row}" for row in arrays["database"]]
    split = {"database": ids, "train": ids[:12], "validation": ids[12:15]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    saved = read_codes(tmp_path / "codes-16.npz")
    assert saved.unseen is not None
    assert saved.unseen.tolist() == arrays["database"][15:].tolist()
    assert "text to image, unseen database" in saved.evaluate((50,))
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(HashcliError, match=r"split\.json is not a recorded split"):
        read_codes(tmp_path / "codes-16.npz")


@pytest.mark.parametrize("labelled", [True, False])
def test_the_headline_is_one_metric_of_the_report(labelled: bool) -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(40)
    packed = {"image": rng.integers(0, 256, (40, 2), np.uint8), "text": rng.integers(0, 256, (80, 2), np.uint8)}
    codes = DatasetCodes(rows, rows.repeat(2), packed)
    labels = rng.integers(0, 2, (40, 3), np.uint8) if labelled else None
    query, database = rows[:10], rows[10:] if labelled else rows[:10]
    reports = evaluate_codes(codes, labels, query, database)
    values = {
        f"{direction} {metric.name}": metric.value for direction, report in reports.items() for metric in report.metrics
    }
    watched = headline(codes, labels, query, database)
    name = "mAP@all" if labelled else "recall@10"
    assert set(watched) == {f"image to text {name}", f"text to image {name}"}
    assert watched == pytest.approx({key: values[key] for key in watched})


def test_a_dataset_is_encoded_once_for_several_splits(tiny_model: Path) -> None:
    """Rows are in ascending order, however they were given; the reports are those of each split's own codes."""
    names = ["chelsea.png", "coffee.png", "rocket.jpg", "coins.png"] * 10
    images = [SKIMAGE / name for name in names]
    labels = np.eye(4, dtype=np.uint8)[np.arange(40) % 4]
    texts = [[f"a {'cat' if n % 2 else 'dog'}", "a rocket"] for n in range(40)]
    dataset = ImageTextDataset("own-some", [str(n) for n in range(40)], images, texts, labels, list("abcd"))
    model = load_model(tiny_model)
    counts: list[int] = []
    splits = [make_split(dataset, seed) for seed in (0, 1)]
    together = encode_dataset(model, dataset, evaluated_rows(splits), counts.append)
    assert sum(counts) == 40
    for split in splits:
        rows = np.concatenate([split.query, split.database])
        codes = encode_dataset(model, dataset, rows, lambda _: None)
        assert codes.rows.tolist() == sorted(rows)
        assert np.array_equal(codes.packed["image"][3], pack(model.encode_images([images[3]]))[0])
        evaluated = EvaluatedRows(split.query, split.database, split.unseen)
        assert evaluate_fully(codes, labels, evaluated, (50,)) == evaluate_fully(together, labels, evaluated, (50,))


def test_a_photo_that_cannot_be_read_stops_the_evaluation(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    dataset = ImageTextDataset("own-some", ["a"], [tmp_path / "empty.jpg"], [["a"]])
    with pytest.raises(HashcliError, match=r"empty\.jpg cannot be read"):
        encode_dataset(load_model(tiny_model), dataset, np.array([0]), lambda _: None)


def test_saved_codes_know_their_run(tmp_path: Path) -> None:
    arrays = save_codes(tmp_path / "run" / "codes-16.npz")
    assert read_codes(tmp_path / "run" / "codes-16.npz").origin == {}
    run = {"dataset": "mine", "protocol": "ours", "split": "abc", "config": {"method": "ckdh", "seed": 7, "bits": [16]}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    saved = read_codes(str(tmp_path / "run" / "codes-16.npz"))
    assert saved.bits == 16
    assert saved.query.tolist() == arrays["query"].tolist()
    assert saved.origin == {"dataset": "mine", "protocol": "ours", "split": "abc", "method": "ckdh", "seed": 7}
    (tmp_path / "run" / "run.json").write_text("[]")
    with pytest.raises(HashcliError, match=r"run\.json does not describe a run"):
        read_codes(tmp_path / "run" / "codes-16.npz")


def test_codes_are_averaged_only_over_seeds(tmp_path: Path) -> None:
    run = {"dataset": "mine", "protocol": "ours", "split": "abc", "config": {"method": "ckdh", "seed": 0}}
    changes: dict[str, dict[str, object]] = {
        "first": {},
        "other-seed": {"split": "def", "config": {"method": "ckdh", "seed": 1}},
        "other-method": {"config": {"method": "soda", "seed": 1}},
        "other-dataset": {"dataset": "yours"},
    }
    for name, change in changes.items():
        save_codes(tmp_path / name / "codes-16.npz")
        (tmp_path / name / "run.json").write_text(json.dumps(run | change))
    save_codes(tmp_path / "long" / "codes-32.npz", bits=32)
    first, seed, method, dataset = (read_codes(tmp_path / name / "codes-16.npz") for name in changes)
    check_averageable([first, seed])
    for other, message in (
        (method, "differ in their method .* has ckdh, .* has soda"),
        (dataset, "differ in their dataset"),
        (read_codes(tmp_path / "long" / "codes-32.npz"), "differ in their length .* has 16 bits, .* has 32 bits"),
    ):
        with pytest.raises(HashcliError, match=message):
            check_averageable([first, other])


@pytest.mark.skipif(not FLICKR8K.is_dir(), reason="Flickr8k is not on disk")
def test_lite_256_finds_photos_by_captions_and_captions_by_photos() -> None:
    """Recall@10 on the 1,000 dev photos with five captions each, which the model was not trained on: a caption's photo
    and one of a photo's captions, by Hamming distance alone with ties in order. Chance is 0.01 for both."""
    dataset = load_dataset("flickr8k", FLICKR8K)
    dev = dataset.parts["dev"]
    model = load_model("lite-256")
    photos = pack(model.encode_images(dataset.images[row] for row in dev))
    texts = pack(model.encode_texts(text for row in dev for text in dataset.texts[row]))
    assert len(texts) == 5 * len(photos) == 5000

    distances = np.bitwise_count(texts[:, None] ^ photos[None]).sum(axis=2)  # [captions, photos]
    own = np.arange(len(photos)).repeat(5)
    ranks = (np.argsort(distances, axis=1, kind="stable") == own[:, None]).argmax(axis=1)
    recall = float((ranks < 10).mean())
    nearest = np.argsort(distances.T, axis=1, kind="stable")[:, :10]  # [photos, 10] captions
    described = float((own[nearest] == np.arange(len(photos))[:, None]).any(axis=1).mean())
    print(f"recall@10 by Hamming distance: text to image {recall:.3f}, image to text {described:.3f}")
    assert recall >= 0.59
    assert described >= 0.62
