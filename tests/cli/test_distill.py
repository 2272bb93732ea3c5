"""hashcli distill, through the command: a run on small datasets of real photos, with a tiny model as teacher."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import make_split, read_split
from hashcli.hashmodel.model import HashModel
from tests.conftest import PHOTOS, Run, json_rows, make_tiny_model
from tests.datasets.layouts import make_flickr8k, make_mirflickr

SHORT = ("--set", "epochs=2", "--set", "round_steps=2", "--set", "rounds=2", "--set", "hidden=16")


@pytest.fixture
def distill(hashcli: Run, tmp_path: Path) -> Run:
    """`hashcli distill`, with a cache of its own."""

    def run(*arguments: object, status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        return hashcli("distill", *arguments, status=status, **own | more)

    return run


@pytest.fixture
def flickr(tmp_path: Path, tiny_model: Path) -> tuple[object, ...]:
    """The arguments for a run on a small MIRFlickr with the tiny model as teacher and student."""
    pytest.importorskip("torch")
    root = make_mirflickr(tmp_path / "data", photos=60)
    return ("--dataset", "mirflickr", "--root", root, "--teacher", tiny_model, "--student", tiny_model, *SHORT)


def mean_average_precision(query: np.ndarray, database: np.ndarray, relevant: np.ndarray) -> float:
    """Of packed codes [q, bytes] and [n, bytes], equal distances in the order of the database."""
    precisions = []
    for code, own in zip(query, relevant, strict=True):
        order = np.argsort(np.bitwise_count(code ^ database).sum(axis=1), kind="stable")
        ranks = np.flatnonzero(own[order]) + 1
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return float(np.mean(precisions))


def figures(rows: list[dict[str, Any]], of: str, bits: int, name: str) -> dict[str, float]:
    """A figure's value by direction."""
    return {
        row["direction"]: row["value"]
        for row in rows
        if row["of"] == of and row["bits"] == bits and row["name"] == name
    }


@pytest.mark.parametrize("method", ["soda", "ckdh", "lcdh"])
def test_a_run_leaves_a_hash_model_and_all_that_is_needed_to_check_it(
    distill: Run, hashcli: Run, flickr: tuple[object, ...], photos: Path, method: str, tmp_path: Path
) -> None:
    """Every mAP@all can be had again from the codes alone, by a few lines; and the model indexes and searches."""
    done = distill(*flickr, "--method", method, "--bits", "16,32", "--out", "run", "--baselines", "--json")
    assert "60 of 25,000 photos are on disk" in done.stderr
    out = tmp_path / "run"
    metrics = json.loads((out / "metrics.json").read_text())
    assert json_rows(done) == metrics

    pairs = load_dataset("mirflickr", tmp_path / "data")
    split = make_split(pairs, seed=0)
    assert read_split(out / "split.json", pairs).checksum == split.checksum
    told = json.loads((out / "run.json").read_text())
    assert told["split"] == split.checksum
    assert told["sizes"] == {"query": 6, "database": 52, "train": 26, "validation": 3}
    assert (told["config"]["method"], told["config"]["epochs"], told["config"]["bits"]) == (method, 2, [16, 32])
    assert {"hashcli", "python", "torch", "numpy", "onnxruntime"} <= told["versions"].keys()

    epochs = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {epoch["bits"] for epoch in epochs} == {16, 32}
    assert all(epoch["validation"] for epoch in epochs)
    last = next(epoch for epoch in epochs[::-1] if epoch["bits"] == 16)["validation"]
    final = figures(metrics, "validation", 16, "mAP@all")
    assert last == {f"{direction} mAP@all": value for direction, value in final.items()}
    teachers = {row["direction"] for row in metrics if row["of"] == f"{method}'s teacher"}
    assert (
        teachers
        == {
            "soda": {"image to image"},
            "ckdh": {"image to text", "text to image"},
            "lcdh": {"pair to pair"},
        }[method]
    )
    assert all(epoch["stage"].startswith(method) and epoch["number"] <= epoch["of"] == 2 for epoch in epochs)

    assert pairs.labels is not None
    relevant = (pairs.labels[split.query].astype(int) @ pairs.labels[split.database].T.astype(int)) > 0
    for bits in (16, 32):
        saved = np.load(out / f"codes-{bits}.npz")
        assert np.array_equal(saved["query"], split.query)
        assert np.array_equal(saved["labels"], pairs.labels)
        assert np.array_equal(saved["rows"], saved["text_rows"])  # one text each
        query, database = (np.searchsorted(saved["rows"], part) for part in (split.query, split.database))
        images, texts = saved["photos"], saved["texts"]
        assert images.shape == (58, bits // 8)
        assert figures(metrics, method, bits, "mAP@all") == {
            "text to image": pytest.approx(mean_average_precision(texts[query], images[database], relevant)),
            "image to text": pytest.approx(mean_average_precision(images[query], texts[database], relevant)),
        }
        assert figures(metrics, "ITQ of the teacher", bits, "mAP@all").keys() == {"text to image", "image to text"}
        assert figures(metrics, "validation", bits, "mAP@all").keys() == {"text to image", "image to text"}
        model = HashModel(out / f"model-{bits}", verify=True)
        assert model.bits == bits
        assert method in model.description.method
        assert "reconstruction" in (out / f"model-{bits}" / "README.md").read_text()
    rounds = {row["of"] for row in metrics if "round" in row["of"]}
    assert rounds == ({"validation, round 1", "validation, round 2"} if method == "lcdh" else set())
    hashcli("index", photos, "--index", "ix", "--model", "run/model-16")
    for words in ("common tag7, unheard-of", "!"):
        assert len(hashcli("search", words, "--index", "ix", "-k", "5").stdout.splitlines()) == 5


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_killed_run_goes_on_to_the_same_model(
    distill: Run, flickr: tuple[object, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    """Killed in the second round of the first bit length; what was done before is not done again."""
    arguments = (*flickr, "--method", "lcdh", "--bits", "16,32", "--set", "round_steps=40", "--set", "batch=8")
    killed = tmp_path / "killed"
    running = subprocess.Popen(
        [sys.executable, "-m", "hashcli", "distill", *map(str, arguments), "--out", killed],
        cwd=tmp_path,
        env=environment | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    while not (killed / "checkpoints" / "16" / "lcdh-round-2.pt").exists():
        assert running.poll() is None
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL

    distill(*arguments, "--out", killed, "--resume")
    distill(*arguments, "--out", "whole")
    whole = tmp_path / "whole"
    epochs = [json.loads(line) for line in (killed / "log.jsonl").read_text().splitlines()]
    places = [(epoch["bits"], epoch["stage"], epoch["number"]) for epoch in epochs]
    assert len(places) == len(set(places))
    first_round = [e["number"] for e in epochs if (e["bits"], e["stage"]) == (16, "lcdh-round-1")]
    assert first_round == list(range(1, 21))
    for bits in (16, 32):
        one, other = (HashModel(folder / f"model-{bits}", verify=True) for folder in (killed, whole))
        assert one.fingerprint == other.fingerprint
        resumed, undisturbed = (np.load(folder / f"codes-{bits}.npz") for folder in (killed, whole))
        assert all(np.array_equal(resumed[name], undisturbed[name]) for name in undisturbed)
    assert json.loads((killed / "metrics.json").read_text()) == json.loads((whole / "metrics.json").read_text())

    before = (whole / "run.json").read_bytes()
    refused = distill(*arguments, "--out", "whole", status=1)
    assert "whole holds a run already" in refused.stderr
    assert "--resume" in refused.stderr
    refused = distill(*arguments, "--out", "whole", "--resume", "--set", "hidden=8", "--bits", "16", status=1)
    assert "holds a run with other settings (bits 16, 32, not 16; hidden 16, not 8)" in refused.stderr
    assert (whole / "run.json").read_bytes() == before


def test_a_split_and_a_vocabulary_can_be_given(distill: Run, flickr: tuple[object, ...], tmp_path: Path) -> None:
    distill(*flickr, "--bits", "16", "--out", tmp_path / "first")
    (tmp_path / "words.txt").write_text("sky\nwater\n")
    given = ("--split", tmp_path / "first" / "split.json", "--set", f"vocabulary={tmp_path / 'words.txt'}")
    distill(*flickr, *given, "--seed", "5", "--bits", "16", "--out", tmp_path / "second")
    splits = [json.loads((tmp_path / run / "split.json").read_text()) for run in ("first", "second")]
    assert splits[0] == splits[1]
    tokenizer = json.loads((tmp_path / "second" / "model-16" / "tokenizer.json").read_text())
    assert list(tokenizer["model"]["vocab"])[1:] == ["sky", "water"]  # the first stands for all others
    assert "--protocol" in distill(*flickr, *given, "--protocol", "MIR-A", status=2).stderr
    (tmp_path / "words.txt").unlink()
    assert "words.txt cannot be read" in distill(*flickr, *given, "--out", tmp_path / "third", status=1).stderr


def test_a_log_that_a_kill_cut_off_is_mended(distill: Run, flickr: tuple[object, ...], tmp_path: Path) -> None:
    """Killed while it wrote a line, or after it and before the checkpoint: each epoch stands there once."""
    arguments = (*flickr, "--bits", "16", "--out", "run")
    distill(*arguments)
    log = tmp_path / "run" / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    for kept in (lines[:2], [*lines[:1], lines[1][:20]]):  # the first stage has two epochs
        log.write_text("".join(kept))
        for stage in ("soda-teacher", "soda-student"):
            (tmp_path / "run" / "checkpoints" / "16" / f"{stage}.pt").unlink()
        distill(*arguments, "--resume")
        epochs = [json.loads(line) for line in log.read_text().splitlines()]
        assert [(epoch["stage"], epoch["number"]) for epoch in epochs] == [
            ("soda-teacher", 1),
            ("soda-teacher", 2),
            ("soda-student", 1),
            ("soda-student", 2),
        ]


def test_a_run_goes_on_only_with_the_teacher_that_it_began_with(
    distill: Run, flickr: tuple[object, ...], tiny_model: Path, tmp_path: Path
) -> None:
    """Another model of the same name has other features, also where a model is to learn more."""
    shutil.copytree(tiny_model, tmp_path / "tiny")
    towers = ("--teacher", "./tiny", "--student", "./tiny", "--bits", "16")
    distill(*flickr, *towers, "--out", "run")
    update = ("--dataset", "mirflickr", "--root", tmp_path / "data", "--update", "run/model-16", "--out", "new", *SHORT)
    distill(*update)
    shutil.rmtree(tmp_path / "tiny")
    make_tiny_model(tmp_path / "tiny", seed=1)
    assert "other teachers or students" in distill(*flickr, *towers, "--out", "run", "--resume", status=1).stderr
    assert "knows the teacher hashmodel-" in distill(*update, "--resume", status=1).stderr


def test_captions_without_labels(distill: Run, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    root = make_flickr8k(tmp_path / "data", train=20, dev=11)
    (tmp_path / "settings.toml").write_text('method = "lcdh"\nbits = 16\n')
    arguments = ("--dataset", "flickr8k", "--root", root, "--teacher", tiny_model, "--student", tiny_model, *SHORT)
    done = distill(*arguments, "--config", "settings.toml", "--json")
    rows = [row for row in json_rows(done) if row["of"] == "lcdh"]
    assert {row["name"] for row in rows} == {"recall@1", "recall@5", "recall@10"}
    chance = {row["direction"]: row["chance"] for row in rows if row["name"] == "recall@10"}
    assert chance["text to image"] == pytest.approx(10 / 11)
    assert (tmp_path / "runs" / "flickr8k-lcdh-0" / "model-16" / "model.json").exists()


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("--bits", "many"), 2, "--bits many is not a list of whole numbers"),
    (("--config", "odd.toml"), 1, "odd.toml: there is no setting 'epoch'"),
    (("--teacher", "nosuch"), 1, "There is no hash model 'nosuch'"),
    (("--nonsense",), 2, "--nonsense"),
    (("--set", "epochs=0"), 1, "--set epochs=0: epochs must be from 1 to"),
    (("--protocol", "MIR-X"), 1, "mirflickr has no protocol 'MIR-X'"),
    (("--set", "tune_student=full"), 1, "tune_student: a hash model's tower cannot be tuned"),
]


@pytest.mark.parametrize(("arguments", "status", "said"), WRONG)
def test_errors_say_what_to_do(
    distill: Run, flickr: tuple[object, ...], tmp_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "odd.toml").write_text("epoch = 3\n")
    done = distill(*flickr, *arguments, status=status)
    assert said in done.stderr
    assert "This should not happen" not in done.stderr
    assert done.stdout == ""


def test_a_photo_that_cannot_be_read_stops_the_run_and_is_named(
    distill: Run, flickr: tuple[object, ...], tmp_path: Path
) -> None:
    photo = tmp_path / "data" / "mirflickr" / "im5.jpg"
    spoiled = photo.read_bytes()
    photo.write_bytes(spoiled[: len(spoiled) // 2] + bytes(len(spoiled) - len(spoiled) // 2))
    assert "im5.jpg cannot be read" in distill(*flickr, status=1).stderr


def test_help_needs_no_torch_and_running_without_it_names_the_install_line(distill: Run, tmp_path: Path) -> None:
    """A torch that cannot be imported stands in the way of one that may be installed."""
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "torch.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    )
    absent = {"PYTHONPATH": str(tmp_path / "absent")}
    assert "--method" in distill("--help", **absent).stdout
    done = distill("--dataset", "mirflickr", status=1, **absent)
    assert done.stderr == "hashcli: Training needs torch, which is not installed.\npip install 'hashcli[train]'\n"


def test_without_a_network_two_lines_name_the_other_ways(distill: Run, tmp_path: Path) -> None:
    pytest.importorskip("open_clip", exc_type=ImportError)
    root = make_mirflickr(tmp_path / "data", photos=60)
    done = distill("--dataset", "mirflickr", "--root", root, "--out", "run", status=1, HF_HUB_OFFLINE="1")
    told = [line for line in done.stderr.splitlines() if not line.startswith(("warning: ", "Loading "))]
    assert len(told) == 2
    assert told[0].startswith("hashcli: The teacher ViT-B-32/datacomp_xl_s13b_b90k cannot be loaded")
    assert "--teacher lite-256" in told[1]
    assert "local-dir:FOLDER" in told[1]


@pytest.mark.parametrize(
    ("teacher", "student"),
    [("local-dir:clip", "timm:mobilenetv3_small_050/random"), ("ViT-B-32/random", "ViT-B-32/random")],
)
def test_an_open_clip_teacher_and_a_student_that_is_no_hash_model(
    distill: Run, hashcli: Run, photos: Path, tmp_path: Path, teacher: str, student: str
) -> None:
    """The small teacher is tuned within CKDH, in half precision."""
    pytest.importorskip("open_clip", exc_type=ImportError)
    from tests.distillation.small_clip import make_small_clip

    make_small_clip(tmp_path / "clip")
    paths = sorted(path.relative_to(tmp_path) for path in photos.rglob("*.*g"))
    lines = [{"image": str(path), "text": PHOTOS[path.name], "labels": ["a"]} for path in paths]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ("--dataset", "./pairs.jsonl", "--teacher", teacher, "--student", student, *SHORT)
    tuned = ("--method", "ckdh", "--set", "tune_teacher=last", "--set", "precision=bfloat16")
    distill(*arguments, *(tuned if teacher.startswith("local-dir:") else ()), "--out", "run", "--bits", "16")
    told = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert (told["teacher"], told["student"]) == (teacher, student)
    assert HashModel(tmp_path / "run" / "model-16").description.image.size == 224
    shutil.rmtree(photos / "trip")
    hashcli("index", photos, "--index", "ix", "--model", "run/model-16")
    assert len(hashcli("search", "a cat", "--index", "ix", "-k", "3").stdout.splitlines()) == 3


def test_a_model_learns_new_pairs_and_its_old_codes_go_on_answering(
    distill: Run, flickr: tuple[object, ...], tmp_path: Path
) -> None:
    """The new data are photos with captions of one's own; almost all of the old items' bits stay as they were."""
    distill(*flickr, "--bits", "16", "--out", "old", "--set", "epochs=20")
    lines = []
    for number in range(5, 45):
        image = os.path.relpath(tmp_path / "data" / "mirflickr" / f"im{number}.jpg", tmp_path)
        lines.append(
            json.dumps({"image": image, "text": f"common tag{number}", "labels": ["sky" if number % 2 == 0 else "dog"]})
        )
    (tmp_path / "new.jsonl").write_text("\n".join(lines))
    update = ("--dataset", "./new.jsonl", "--out", "new", "--set", "epochs=5", "--update")
    done = distill(*update, "old/model-16")
    assert "of the old items' bits" in done.stderr
    assert "labels" not in done.stderr
    (tmp_path / "other.jsonl").write_text((tmp_path / "new.jsonl").read_text().replace('"dog"', '"cat"'))
    other = distill("--dataset", "./other.jsonl", "--out", "other", "--set", "epochs=1", "--update", "old/model-16")
    assert "these labels are not the model's" in other.stderr
    assert "another model to update" in distill(*update, "new/model-16", "--resume", status=1).stderr
    for setting, said in (("bits=32", "bits 16"), ("hidden=32", "hidden 16"), ("method=ckdh", "method soda")):
        refused = distill(*update, "old/model-16", "--set", setting, status=1)
        assert f"The model to update has {said}" in refused.stderr
    assert HashModel(tmp_path / "new" / "model-16").fingerprint != HashModel(tmp_path / "old" / "model-16").fingerprint
