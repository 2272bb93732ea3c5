"""hashcli evaluate, through the command."""

from pathlib import Path

import numpy as np
import pytest

from hashcli.datasets.mirflickr import load
from hashcli.datasets.splits import make_split
from tests.conftest import Run, json_rows
from tests.datasets.layouts import make_flickr8k, make_mirflickr


def test_labels_both_ways_with_chance(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    """mAP@all agrees with a plain computation from the codes that `hashcli encode` gives."""
    root = make_mirflickr(tmp_path / "data", photos=60)
    done = hashcli("evaluate", "--dataset", "mirflickr", "--root", root, "--model", tiny_model, "--json")
    assert "60 of 25,000 photos are on disk" in done.stderr
    rows = json_rows(done)
    assert {row["direction"] for row in rows} == {"image to text", "text to image"}
    figures = {row["metric"]: row for row in rows if row["direction"] == "text to image" and "metric" in row}

    pairs = load(root)
    split = make_split(pairs, seed=0)
    assert pairs.labels is not None
    texts = (tmp_path / "texts.txt").write_text("".join(f"{pairs.texts[row][0]}\n" for row in split.query))
    assert texts
    photos = [pairs.images[row] for row in split.database]
    hashcli("encode", *photos, "--model", tiny_model, "--out", "photos.npy")
    hashcli("encode", "--texts-from", "texts.txt", "--model", tiny_model, "--out", "texts.npy")
    queries, database = np.load(tmp_path / "texts.npy"), np.load(tmp_path / "photos.npy")
    precisions = []
    for code, labels in zip(queries, pairs.labels[split.query], strict=True):
        order = np.argsort(np.bitwise_count(code ^ database).sum(axis=1), kind="stable")
        ranks = np.flatnonzero((pairs.labels[split.database][order] & labels).any(axis=1)) + 1
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    assert figures["mAP@all"]["value"] == pytest.approx(np.mean(precisions))
    assert 0 < figures["mAP@all"]["chance"] < 1
    assert figures["mAP@all"]["split"] == split.checksum


def test_captions_both_ways(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    root = make_flickr8k(tmp_path / "data", train=6, dev=20)
    printed = hashcli("evaluate", "--dataset", "flickr8k", "--root", root, "--model", tiny_model).stdout
    assert "text to image\trecall@10\t" in printed
    assert "image to text\trecall@1\t" in printed
    assert "chance 0.5000" in printed  # 10 of 20 photos


def test_a_photo_that_cannot_be_read_stops_the_measurement(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    root = make_mirflickr(tmp_path / "data", photos=10)
    (root / "mirflickr" / "im5.jpg").write_bytes(b"")
    done = hashcli("evaluate", "--dataset", "mirflickr", "--root", root, "--model", tiny_model, status=1)
    assert "im5.jpg cannot be read" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--dataset", "nosuch", "--root", "."), 1, "Datasets: coco, flickr8k, iapr, mirflickr, nuswide10, nuswide21."),
        (("--dataset", "mirflickr", "--root", "nowhere"), 1, "mirflickr/meta/tags/tags1.txt"),
        (("--dataset", "mirflickr", "--root", ".", "--k", "many"), 2, "--k many"),
        (("--dataset", "mirflickr"), 2, "--root"),
    ],
)
def test_errors_say_what_to_do(
    hashcli: Run, tiny_model: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    assert said in hashcli("evaluate", *arguments, "--model", tiny_model, status=status).stderr
