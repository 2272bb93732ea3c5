"""hashcli evaluate, through the command."""

import json
import re
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest

from hashcli.datasets.mirflickr import load
from hashcli.datasets.splits import make_split
from tests.conftest import Run, json_rows
from tests.datasets.layouts import make_flickr8k, make_mirflickr
from tests.evaluation.saved import save_codes
from tests.terminal import shown_in_terminal


def test_labels_both_ways_with_chance(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    """mAP@all agrees with a plain computation from the codes that `hashcli encode` gives."""
    root = make_mirflickr(tmp_path / "data", photos=60)
    done = hashcli("evaluate", "--dataset", "mirflickr", "--root", root, "--model", tiny_model, "--json")
    assert "60 of 25,000 photos are on disk" in done.stderr
    rows = json_rows(done)
    cross_modal = ["image to text", "text to image"]
    unseen = [f"{name}, unseen database" for name in cross_modal]
    assert {row["direction"] for row in rows} == {*cross_modal, *unseen, "image to image", "text to text"}
    metrics = {row["metric"]: row for row in rows if row["direction"] == "text to image" and "metric" in row}

    dataset = load(root)
    split = make_split(dataset, seed=0)
    assert dataset.labels is not None
    texts = (tmp_path / "texts.txt").write_text("".join(f"{dataset.texts[row][0]}\n" for row in split.query))
    assert texts
    photos = [dataset.images[row] for row in split.database]
    hashcli("encode", *photos, "--model", tiny_model, "--out", "photos.npy")
    hashcli("encode", "--texts-from", "texts.txt", "--model", tiny_model, "--out", "texts.npy")
    queries, database = np.load(tmp_path / "texts.npy"), np.load(tmp_path / "photos.npy")
    precisions = []
    for code, labels in zip(queries, dataset.labels[split.query], strict=True):
        order = np.argsort(np.bitwise_count(code ^ database).sum(axis=1), kind="stable")
        ranks = np.flatnonzero((dataset.labels[split.database][order] & labels).any(axis=1)) + 1
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    assert metrics["mAP@all"]["value"] == pytest.approx(np.mean(precisions))
    assert 0 < metrics["mAP@all"]["chance"] < 1
    assert metrics["mAP@all"]["split"] == split.checksum


def test_a_protocol_decides_the_query_set(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    """MIR-D takes the photo without tags too."""
    root = make_mirflickr(tmp_path / "data", photos=60)
    command = ("evaluate", "--dataset", "mirflickr", "--root", root, "--model", tiny_model, "--json", "--protocol")
    sizes = {}
    for name in ("MIR-A", "mir-d"):
        row, *_ = json_rows(hashcli(*command, name))
        assert row["protocol"].startswith(name.upper())
        sizes[name] = row["query"], row["database"]
    assert sizes == {"MIR-A": (6, 52), "mir-d": (12, 47)}


def test_a_root_is_given_once(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    """It is remembered; before, an error says where the dataset is looked for, and both ways to get it there."""
    command = ("evaluate", "--dataset", "mirflickr", "--model", tiny_model, "--json")
    lost = hashcli(*command, status=1).stderr
    home = tmp_path / "data" / "hashcli" / "datasets" / "mirflickr"
    assert f"mirflickr is not in {home}, where its files belong." in lost
    assert "--root" in lost
    assert "--download" in lost
    root = make_mirflickr(tmp_path / "far", photos=60)
    named = hashcli(*command, "--root", "far")
    assert f"will be looked for in {root.name} from now on" in named.stderr
    again = hashcli(*command)
    assert "from now on" not in again.stderr
    assert json_rows(again) == json_rows(named)


def test_what_is_downloaded_without_a_root_goes_home(
    hashcli: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str, root: Path, _: object) -> None:
        make_mirflickr(root, photos=60)

    monkeypatch.setattr("hashcli.datasets.download.download", fetch)
    command = ("evaluate", "--dataset", "mirflickr", "--model", tiny_model, "--json")
    downloaded = json_rows(hashcli(*command, "--download"))
    assert (tmp_path / "data" / "hashcli" / "datasets" / "mirflickr" / "mirflickr" / "im1.jpg").exists()
    assert json_rows(hashcli(*command)) == downloaded


def test_what_cannot_be_downloaded_is_named(hashcli: Run, tiny_model: Path) -> None:
    command = ("evaluate", "--dataset", "flickr8k", "--root", "here", "--model", tiny_model, "--download")
    assert "flickr8k" in hashcli(*command, status=1).stderr


def test_captions_both_ways(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    root = make_flickr8k(tmp_path / "data", train=6, dev=20)
    printed = hashcli("evaluate", "--dataset", "flickr8k", "--root", root, "--model", tiny_model).stdout
    assert "text to image\trecall@10\t" in printed
    assert "image to text\trecall@1\t" in printed
    assert "chance 0.5000" in printed  # 10 of 20 photos


def test_a_photo_that_cannot_be_read_stops_the_evaluation(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    root = make_mirflickr(tmp_path / "data", photos=10)
    (root / "mirflickr" / "im5.jpg").write_bytes(b"")
    done = hashcli("evaluate", "--dataset", "mirflickr", "--root", root, "--model", tiny_model, status=1)
    assert "im5.jpg cannot be read" in done.stderr
    assert done.stdout == ""


def test_saved_codes_are_evaluated_without_model_and_data(hashcli: Run, tmp_path: Path) -> None:
    """They agree with a plain loop, ties by the database's order; run.json says what the codes are of."""
    saved = save_codes(tmp_path / "run" / "codes-16.npz")
    description = {"dataset": "mine", "protocol": "ours", "split": "abc", "config": {"method": "ckdh", "seed": 7}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(description))
    rows = json_rows(hashcli("evaluate", "--codes", "run/codes-16.npz", "--json"))
    about = {"dataset": "mine", "method": "ckdh", "seed": 7, "bits": 16, "query": 10, "database": 30}
    assert all(row.items() >= about.items() for row in rows)

    place = {row: number for number, row in enumerate(saved["rows"].tolist())}
    precisions: list[float] = []
    first: list[float] = []
    for query in saved["query"]:
        for text in np.flatnonzero(saved["text_rows"] == query):
            photos = saved["photos"][[place[row] for row in saved["database"].tolist()]]
            order = np.argsort(np.bitwise_count(photos ^ saved["texts"][text]).sum(axis=1), kind="stable")
            shared = (saved["labels"][saved["database"][order]] & saved["labels"][query]).any(axis=1)
            ranks = np.flatnonzero(shared) + 1
            precisions.append(float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) if len(ranks) else 0)
            first.append(shared[:7].mean())
    own = {row.get("metric", row.get("curve")): row for row in rows if row["direction"] == "text to image"}
    assert own["mAP@all"]["value"] == pytest.approx(np.mean(precisions))
    assert own["precision@N"]["x"] == list(range(1, 31))
    assert own["precision@N"]["values"][6] == pytest.approx(np.mean(first))


def test_codes_of_several_seeds_give_mean_and_deviation(hashcli: Run, tmp_path: Path) -> None:
    values = []
    for seed in (0, 1, 2):
        save_codes(tmp_path / f"{seed}.npz", seed=seed)
        (row, *_) = json_rows(hashcli("evaluate", "--codes", f"{seed}.npz", "--json"))
        values.append(row["value"])
    all_codes = ("--codes", "0.npz", "--codes", "1.npz", "--codes", "2.npz")
    (row, *_) = json_rows(hashcli("evaluate", *all_codes, "--json"))
    assert (row["direction"], row["metric"], row["values"]) == ("image to text", "mAP@all", values)
    assert row["mean"] == pytest.approx(statistics.mean(values))
    assert row["sd"] == pytest.approx(statistics.stdev(values))
    shown = f"image to text\tmAP@all\tmean {row['mean']:.4f}\tsd {row['sd']:.4f}\tchance {row['chance']:.4f}\n"
    assert hashcli("evaluate", *all_codes).stdout.startswith(shown)


def test_several_seeds_split_the_dataset_anew(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    root = make_mirflickr(tmp_path / "data", photos=60)
    command = ("evaluate", "--dataset", "mirflickr", "--root", root, "--model", tiny_model, "--json", "--seed")
    single = [json_rows(hashcli(*command, seed))[0] for seed in (0, 1)]
    (both, *_) = json_rows(hashcli(*command, "0,1"))
    assert both["values"] == [row["value"] for row in single]
    assert both["split"] == [row["split"] for row in single]
    assert both["split"][0] != both["split"][1]


def test_a_terminal_gets_a_table(tmp_path: Path, environment: dict[str, str]) -> None:
    save_codes(tmp_path / "codes.npz")
    shown = shown_in_terminal(("evaluate", "--codes", "codes.npz"), tmp_path, environment, columns=60).splitlines()
    assert shown[0].split() == ["metric", "value", "chance"]
    directions = ["image to text", "text to image", "image to image", "text to text"]
    assert [line.strip() for line in shown if " to " in line] == directions
    assert sum("mAP@all " in line for line in shown) == 8  # three for each of the first two, one for the others
    assert max(map(len, shown)) <= 60


def test_plots_without_matplotlib_name_the_install_line(
    hashcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_codes(tmp_path / "codes.npz")
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where it is not installed
    done = hashcli("evaluate", "--codes", "codes.npz", "--plots", "drawn", status=1)
    assert "pip install '.[train]'" in done.stderr
    assert done.stdout == ""


def test_a_run_is_evaluated_again_from_its_codes_alone(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    root = make_mirflickr(tmp_path / "data", photos=60)
    (tmp_path / "short.toml").write_text("epochs = 1\n")
    towers = ("--teacher", tiny_model, "--student", tiny_model)
    settings = ("--method", "ckdh", "--bits", "16", "--config", "short.toml", "--out", "run")
    hashcli("distill", "--dataset", "mirflickr", "--root", root, *towers, *settings)
    of_run = {
        (row["direction"], row["name"]): row["value"]
        for row in json.loads((tmp_path / "run" / "metrics.json").read_text())
        if row["of"] == "ckdh"
    }
    again = {
        (row["direction"], row["metric"]): row["value"]
        for row in json_rows(hashcli("evaluate", "--codes", "run/codes-16.npz", "--json"))
        if "metric" in row
    }
    assert {key: again[key] for key in of_run} == pytest.approx(of_run)
    assert ("text to image, unseen database", "mAP@all") in again


def test_a_warning_about_queries_that_the_model_was_trained_on(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    root = make_mirflickr(tmp_path / "data", photos=60)
    shutil.copytree(tiny_model, tmp_path / "run" / "model-64")
    dataset = load(root)
    (tmp_path / "run" / "split.json").write_text(make_split(dataset, 0).to_json(dataset))
    command = ("evaluate", "--dataset", "mirflickr", "--root", root, "--model", "run/model-64", "--seed")
    assert re.search(r"warning: .* trained on \d+ of the 6 queries of seed 1", hashcli(*command, "0,1").stderr)
    assert "was trained on" not in hashcli(*command, "0").stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ("--dataset", "nosuch", "--root", "."),
            1,
            "Datasets: coco, flickr30k, flickr8k, iapr, mat, mirflickr",
        ),
        (("--dataset", "mirflickr", "--root", "nowhere"), 1, "mirflickr/meta/tags/tags1.txt"),
        (("--dataset", "mirflickr", "--root", ".", "--k", "many"), 2, "--k many"),
        (("--dataset", "mirflickr"), 1, "Give --root"),
        (("--dataset", "mirflickr", "--seed", "x"), 2, "--seed x"),
        (("--codes", "short.npz", "--k", "50,0"), 2, "--k takes numbers from 1"),
        (("--dataset", "mirflickr", "--seed=-1"), 2, "--seed from 0"),
        ((), 2, "--dataset, --codes and --check"),
        (("--dataset", "mirflickr", "--codes", "a.npz"), 2, "--dataset, --codes and --check"),
        (("--codes", "nowhere.npz"), 1, "nowhere.npz cannot be read: No such file"),
        (("--codes", "text.npz"), 1, "text.npz does not hold a run's codes"),
        (("--codes", "array.npz"), 1, "array.npz does not hold a run's codes"),
        (("--codes", "short.npz", "--codes", "long.npz"), 1, "short.npz has 16 bits, long.npz has 32 bits"),
        (("--codes", "short.npz", "--codes", "captions.npz"), 1, "cannot be averaged"),
    ],
)
def test_errors_say_what_to_do(
    hashcli: Run, tiny_model: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "array.npz", rows=np.arange(3))
    save_codes(tmp_path / "short.npz")
    save_codes(tmp_path / "long.npz", bits=32)
    save_codes(tmp_path / "captions.npz", labelled=False)
    assert message in hashcli("evaluate", *arguments, "--model", tiny_model, status=status).stderr
