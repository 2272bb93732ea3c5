"""A run from data to hash models, in process, on a small dataset with a tiny model as teacher and student."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import read_split
from hashcli.distillation.resolve import resolve_settings
from hashcli.distillation.run import train_hash_models
from hashcli.distillation.student import load_student
from hashcli.errors import HashcliError
from hashcli.evaluation.retrieval import encode_dataset
from hashcli.hashmodel.model import HashModel
from tests.conftest import make_tiny_model
from tests.distillation.runs import Kept, resumed, short_settings, small_mirflickr, small_plan, some_pairs, update_plan
from tests.distillation.small_clip import make_small_clip


@pytest.fixture(scope="module")
def mirflickr(tmp_path_factory: pytest.TempPathFactory) -> ImageTextDataset:
    return small_mirflickr(tmp_path_factory.mktemp("mirflickr"))


def mean_average_precision(query: np.ndarray, database: np.ndarray, relevant: np.ndarray) -> float:
    """Of packed codes [q, bytes] and [n, bytes], equal distances in the order of the database."""
    precisions = []
    for code, own in zip(query, relevant, strict=True):
        order = np.argsort(np.bitwise_count(code ^ database).sum(axis=1), kind="stable")
        ranks = np.flatnonzero(own[order]) + 1
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return float(np.mean(precisions))


def metrics_of(rows: list[dict[str, Any]], of: str, bits: int, name: str) -> dict[str, float]:
    """A metric's value by direction."""
    return {
        row["direction"]: row["value"]
        for row in rows
        if row["of"] == of and row["bits"] == bits and row["name"] == name
    }


TEACHERS = {"soda": {"image to image"}, "ckdh": {"image to text", "text to image"}, "lcdh": {"pair to pair"}}
WITHIN = {"image to image", "text to text"}


@pytest.mark.parametrize("method", TEACHERS)
def test_a_run_leaves_hash_models_and_all_that_is_needed_to_check_them(
    mirflickr: ImageTextDataset, tiny_model: Path, method: str, tmp_path: Path
) -> None:
    """Every mAP@all can be computed again from the codes alone, in a few lines."""
    settings = short_settings(method, tiny_model, bits=[16, 32])
    plan = replace(small_plan(mirflickr, settings, tmp_path), baselines=True)
    callback = Kept()
    rows = train_hash_models(plan, callback)
    split = plan.split
    assert json.loads((plan.out / "metrics.json").read_text()) == rows
    assert {(row["bits"], row["of"]) for row in rows} == set(callback.evaluations)

    assert read_split(plan.out / "split.json", mirflickr).checksum == split.checksum
    facts = json.loads((plan.out / "run.json").read_text())
    assert facts["split"] == split.checksum
    assert facts["sizes"] == {"query": 6, "database": 52, "train": 26, "validation": 3}
    assert facts["config"] == settings.to_json()
    assert {"hashcli", "python", "torch", "numpy", "onnxruntime"} <= facts["versions"].keys()

    epochs = [json.loads(line) for line in (plan.out / "log.jsonl").read_text().splitlines()]
    assert [(epoch["bits"], epoch["stage"], epoch["number"]) for epoch in epochs] == callback.epochs
    assert {epoch["bits"] for epoch in epochs} == {16, 32}
    assert all(epoch["validation"] for epoch in epochs)
    assert all(epoch["stage"].startswith(method) and epoch["number"] <= epoch["of"] == 2 for epoch in epochs)
    last = next(epoch for epoch in epochs[::-1] if epoch["bits"] == 16)["validation"]
    final = metrics_of(rows, "validation", 16, "mAP@all")
    if method != "lcdh":  # whose last epoch was evaluated before the mean over the rounds was taken
        assert last == {f"{direction} mAP@all": value for direction, value in final.items()}
    of_teacher = {row["direction"] for row in rows if row["of"] == f"{method}'s teacher"}
    both_databases = TEACHERS[method] | {f"{way}, unseen database" for way in TEACHERS[method]}
    assert of_teacher == both_databases | (WITHIN if method == "ckdh" else set())
    rounds = {row["of"] for row in rows if "round" in row["of"]}
    named = {f"round {number}, {codes}" for number in (1, 2) for codes in ("stored codes", "encoded anew")}
    assert rounds == (named if method == "lcdh" else set())

    assert mirflickr.labels is not None
    labels = mirflickr.labels.astype(int)
    assert len(split.unseen) == 23
    for bits in (16, 32):
        saved = np.load(plan.out / f"codes-{bits}.npz")
        assert np.array_equal(saved["query"], split.query)
        assert np.array_equal(saved["labels"], mirflickr.labels)
        assert np.array_equal(saved["rows"], saved["text_rows"])  # one text each
        images, texts = saved["photos"], saved["texts"]
        assert images.shape == (58, bits // 8)
        expected: dict[str, Any] = {}
        validation: dict[str, Any] = {}
        for name, queries, part, values in (
            ("", split.query, split.database, expected),
            (", unseen database", split.query, split.unseen, expected),
            ("", split.validation, split.train, validation),
        ):
            query, database = (np.searchsorted(saved["rows"], rows_of_it) for rows_of_it in (queries, part))
            relevant = labels[queries] @ labels[part].T > 0
            for kinds, codes, others in (("text to image", texts, images), ("image to text", images, texts)):
                values[kinds + name] = pytest.approx(mean_average_precision(codes[query], others[database], relevant))
        assert metrics_of(rows, "validation", bits, "mAP@all") == validation
        found = metrics_of(rows, method, bits, "mAP@all")
        assert {way: value for way, value in found.items() if way not in WITHIN} == expected
        assert found.keys() == metrics_of(rows, "ITQ of the teacher", bits, "mAP@all").keys() == {*expected, *WITHIN}
        model = HashModel(plan.out / f"model-{bits}", verify=True)
        assert (model.bits, model.name) == (bits, f"run-{bits}")
        assert model.description.method == f"{method}, our reconstruction"
        card = (model.folder / "README.md").read_text()
        assert "a reconstruction and not the authors' code" in card
        assert [line for line in card.splitlines() if "unseen" in line and "mAP@all |" not in line] == []
        assert "| text to image, unseen database | mAP@all |" in card


@pytest.mark.parametrize("method", ["soda", "ckdh", "lcdh"])
def test_photos_without_labels_are_trained_on_and_never_searched(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    """Half of the labels are missing, and of the others half are hidden, but not from the evaluation."""
    assert mirflickr.labels is not None
    own = replace(mirflickr, name="own-part", labels=mirflickr.labels.copy())
    assert own.labels is not None
    own.labels[::2] = 0
    plan = small_plan(own, short_settings(method, tiny_model, labelled=0.5, labelled_steps=4), tmp_path)
    train_hash_models(plan, Kept())
    saved = np.load(plan.out / "codes-16.npz")
    assert own.labels[saved["query"]].any(axis=1).all()
    assert own.labels[saved["database"]].any(axis=1).all()
    assert set(range(0, len(own.ids), 2)) < set(plan.split.train.tolist())
    anchors = load_student(plan.out / "model-16").anchors
    assert anchors.labels is not None
    with_labels = int(own.labelled[plan.split.train].sum())
    assert anchors.labels.any(dim=1).sum().item() == round(0.5 * with_labels)


def test_a_split_and_a_vocabulary_can_be_given(mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path) -> None:
    first = small_plan(mirflickr, short_settings("soda", tiny_model), tmp_path, "first")
    words = tmp_path / "words.txt"
    words.write_text("sky\nwater\n")
    given = short_settings("soda", tiny_model, vocabulary=str(words), seed=5)
    second = replace(small_plan(mirflickr, given, tmp_path, "second"), split=first.split)
    train_hash_models(second, Kept())
    assert json.loads((second.out / "split.json").read_text())["seed"] == 0
    tokenizer = json.loads((second.out / "model-16" / "tokenizer.json").read_text())
    assert list(tokenizer["model"]["vocab"])[1:] == ["sky", "water"]  # the first stands for all others
    words.unlink()
    with pytest.raises(HashcliError, match=r"words\.txt cannot be read"):
        train_hash_models(replace(second, out=tmp_path / "third"), Kept())


def test_a_photo_that_cannot_be_read_stops_the_run_and_is_named(tiny_model: Path, tmp_path: Path) -> None:
    dataset = small_mirflickr(tmp_path / "data")
    photo = dataset.images[4]
    spoiled = photo.read_bytes()
    photo.write_bytes(spoiled[: len(spoiled) // 2] + bytes(len(spoiled) - len(spoiled) // 2))
    with pytest.raises(HashcliError, match=f"{photo.name} cannot be read"):
        train_hash_models(small_plan(dataset, short_settings("soda", tiny_model), tmp_path), Kept())


@pytest.mark.parametrize(
    ("method", "values", "said"),
    [
        ("soda", {"tune_student": "full"}, "tune_student: a hash model's tower cannot be tuned"),
        ("soda", {"tune_teacher": "last"}, "tune_teacher: a hash model's tower cannot be tuned"),
        ("ckdh", {"tune_teacher": "last"}, "tune_teacher: a hash model's tower cannot be tuned"),
        ("lcdh", {"tune_teacher": "full"}, "tune_teacher: a hash model's tower cannot be tuned"),
        ("soda", {"teacher": "nosuch"}, "There is no hash model 'nosuch'"),
        ("soda", {}, "this dataset has no labels"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path, method: str, values: dict[str, str], said: str
) -> None:
    dataset = mirflickr if values else replace(mirflickr, labels=None)
    plan = small_plan(dataset, short_settings(method, tiny_model, **values), tmp_path)
    with pytest.raises(HashcliError, match=said):
        train_hash_models(plan, Kept())
    assert not plan.out.exists()
    assert not plan.cache.exists()


def test_a_run_is_resumed_only_with_the_teacher_that_it_began_with(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path
) -> None:
    """Another model of the same name has other features."""
    model = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    plan = small_plan(mirflickr, short_settings("soda", model, epochs=1), tmp_path)
    train_hash_models(plan, Kept())
    shutil.rmtree(model)
    make_tiny_model(model, seed=1)
    with pytest.raises(HashcliError, match="other teachers or students of these names"):
        train_hash_models(resumed(plan), Kept())


class StoppedError(Exception):
    pass


class Stopping(Kept):
    """Stops a run at the end of an epoch, after it is logged by an earlier run or before it is logged at all."""

    def __init__(self, at: tuple[int, str, int]) -> None:
        super().__init__()
        self.at = at

    def epoch_ended(self, bits: int, epoch: Any) -> None:
        super().epoch_ended(bits, epoch)
        if self.epochs[-1] == self.at:
            raise StoppedError


def test_a_stopped_run_ends_like_one_that_was_not_stopped(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path
) -> None:
    """Stopped within the second round of the first code length; what was done before is not done again."""
    settings = short_settings("lcdh", tiny_model, bits=[16, 32], round_steps=4, batch=8, averaged=True)
    whole, stopped = (small_plan(mirflickr, settings, tmp_path, name) for name in ("whole", "stopped"))
    everything = Kept()
    train_hash_models(whole, everything)
    stop_at = (16, "lcdh-round-2", 2)
    assert stop_at in everything.epochs
    with pytest.raises(StoppedError):
        train_hash_models(stopped, Stopping(stop_at))
    rest = Kept()
    train_hash_models(resumed(stopped), rest)
    assert rest.epochs == everything.epochs[everything.epochs.index(stop_at) :]
    for bits in (16, 32):
        one, other = (HashModel(plan.out / f"model-{bits}").fingerprint for plan in (whole, stopped))
        assert one == other
    read = [(plan.out / "metrics.json").read_text() for plan in (whole, stopped)]
    assert read[0] == read[1]


@pytest.mark.parametrize("method", ["ckdh", "lcdh"])
def test_captions_that_are_not_evaluated_are_trained_on(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    """Two captions a photo, of which the first is evaluated: the codes are of these, by hashcli evaluate as well."""
    texts = [[*own, f"another of {row}"] for row, own in enumerate(mirflickr.texts)]
    dataset = replace(mirflickr, texts=texts, searched=1)
    plan = replace(small_plan(dataset, short_settings(method, tiny_model), tmp_path), baselines=True)
    rows = train_hash_models(plan, Kept())
    assert load_student(plan.out / "model-16").learned == 2 * len(plan.split.train)
    saved = np.load(plan.out / "codes-16.npz")
    assert np.array_equal(saved["text_rows"], saved["rows"])
    model = HashModel(plan.out / "model-16")
    again = encode_dataset(model, dataset, saved["rows"], lambda count: None)
    assert np.array_equal(again.packed["text"], saved["texts"])
    of = {row["of"] for row in rows}
    assert {"ITQ of the teacher", "validation", method} < of


def test_captions_without_labels(tiny_model: Path, mirflickr: ImageTextDataset, tmp_path: Path) -> None:
    """Recall of one's own photo or caption, and the similarities are the teacher's."""
    dataset = replace(mirflickr, name="captions", labels=None, label_names=[])
    rows = train_hash_models(small_plan(dataset, short_settings("lcdh", tiny_model), tmp_path), Kept())
    shown = [row for row in rows if row["of"] == "lcdh"]
    assert {row["name"] for row in shown} == {"recall@1", "recall@5", "recall@10"}
    assert not any(row["of"] == "lcdh's teacher" for row in rows)  # a pair finds itself


@pytest.mark.parametrize("student", ["timm:test_resnet/random", "the teacher"])
def test_an_open_clip_teacher_and_a_student_with_a_torch_tower(
    mirflickr: ImageTextDataset, tmp_path: Path, student: str
) -> None:
    """The teacher is tuned within CKDH, in half precision; as a student its tower is another, in whole precision."""
    pytest.importorskip("open_clip", exc_type=ImportError)
    teacher = f"local-dir:{make_small_clip(tmp_path / 'clip')}"
    names = {"teacher": teacher, "student": teacher if student == "the teacher" else student}
    values: dict[str, Any] = {"bits": 16, "epochs": 1, "hidden": 16, "tune_teacher": "last", "precision": "bfloat16"}
    settings = resolve_settings(method="ckdh", **values | names)
    plan = small_plan(some_pairs(mirflickr, range(24)), settings, tmp_path)
    train_hash_models(plan, Kept())
    saved = json.loads((plan.out / "run.json").read_text())
    assert (saved["config"]["teacher"], saved["config"]["student"]) == (teacher, names["student"])
    assert saved["towers"]["teacher"].endswith("-bfloat16")
    assert not saved["towers"]["student"].endswith("-bfloat16")
    size = 32 if student == "the teacher" else 160
    assert HashModel(plan.out / "model-16").description.image.size == size


@pytest.mark.parametrize("student", ["timm:test_resnet/random", "hash model"])
def test_the_model_of_a_student_of_small_photos_reduces_them_too(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path, student: str
) -> None:
    """The run itself compares the exported model's outputs with the trained ones. An update keeps the size."""
    pytest.importorskip("timm", exc_type=ImportError)
    tuned = {"tune_student": "last", "tune_epochs": 1} if student.startswith("timm:") else {}
    name = str(tiny_model) if student == "hash model" else student
    settings = short_settings("soda", tiny_model, epochs=1, student=name, student_size=5, **tuned)
    plan = small_plan(some_pairs(mirflickr, range(40)), settings, tmp_path)
    train_hash_models(plan, Kept())
    assert HashModel(plan.out / "model-16", verify=True).description.image.size == 5
    update = update_plan(plan.out / "model-16", some_pairs(mirflickr, range(30, 58)), tmp_path, "new", epochs=1)
    train_hash_models(update, Kept())
    assert HashModel(update.out / "model-16", verify=True).description.image.size == 5
    with pytest.raises(HashcliError, match="has student_size 5, which 6 cannot replace"):
        train_hash_models(update_plan(plan.out / "model-16", mirflickr, tmp_path, "other", student_size=6), Kept())


def test_both_halves_of_an_open_clip_model_in_a_student(mirflickr: ImageTextDataset, tmp_path: Path) -> None:
    """Its text tower, which the run has checked against torch, is in the hash model; an update goes on with it."""
    pytest.importorskip("open_clip", exc_type=ImportError)
    name = f"local-dir:{make_small_clip(tmp_path / 'clip')}"
    settings = resolve_settings(
        method="ckdh", teacher=name, student=name, text=name, epochs=1, hidden=16, bits=16, precision="float32"
    )
    train_hash_models(small_plan(mirflickr, settings, tmp_path), Kept())
    model = HashModel(tmp_path / "run" / "model-16", verify=True)
    assert model.description.text.max_tokens == 16
    assert model.encode_texts(["a dog", ""]).shape == (2, 16)
    train_hash_models(update_plan(model.folder, some_pairs(mirflickr, range(30)), tmp_path, "update"), Kept())
    assert HashModel(tmp_path / "update" / "model-16", verify=True).fingerprint != model.fingerprint
