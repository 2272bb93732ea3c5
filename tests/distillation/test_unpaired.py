"""Runs of a method without pairs: photos alone, and a teacher, become a hash model of that teacher."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("open_clip")

import torch
from torch.nn import functional

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import make_split
from hashcli.distillation.open_towers import open_teacher
from hashcli.distillation.registry import load_method
from hashcli.distillation.resolve import resolve_settings
from hashcli.distillation.run import train_hash_models
from hashcli.distillation.run_plan import RunPlan
from hashcli.distillation.sentences import choose_sentences, everyday_sentences
from hashcli.distillation.student import load_student
from hashcli.errors import HashcliError
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel
from tests.conftest import Run
from tests.distillation.runs import Kept, short_settings, small_mirflickr, small_plan
from tests.distillation.small_text_towers import OWN, save_model

FOUND = "recall@10 of the 10 nearest"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("teacher") / "clip", OWN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """120 small photos of stripes and noise, without a single text."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "my photos"
    (folder / "trip").mkdir(parents=True)
    for number in range(120):
        stripes = 127 + 100 * np.sin(np.arange(48)[:, None] * rng.uniform(0.1, 2) + rng.uniform(0, 6, 3))
        pixels = stripes[None] + rng.normal(0, 25, (40, 48, 3))
        path = folder / ("trip" if number % 3 else ".") / f"{number}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(autouse=True)
def few_sentences(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A sample of the everyday sentences, so that a test takes a second."""
    few = everyday_sentences()[::33][:300]
    monkeypatch.setattr("hashcli.distillation.sentences.everyday_sentences", lambda: few)
    return few


def unpaired_plan(folder: Path, teacher: object, out: Path, method: str = "itq") -> RunPlan:
    dataset = load_dataset(str(folder), without_texts=True)
    quick = ["steps=20"] if method == "rank" else []
    settings = resolve_settings(assignments=quick, method=method, teacher=str(teacher), bits=(32,))
    return RunPlan(dataset, make_split(dataset, 0), settings, out, out.parent / "cache")


def test_photos_alone_become_a_model_that_indexes_and_searches(
    hashcli: Run, folder: Path, clip: Path, tmp_path: Path
) -> None:
    arguments = (
        "--dataset",
        folder,
        "--teacher",
        f"local-dir:{clip}",
        "--method",
        "itq",
        "--bits",
        "32",
        "--out",
        "runs/it",
    )
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = hashcli("distill", *arguments, **cache)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:4] for row in rows] == [
        ["itq", "32 bits", direction, FOUND] for direction in ("image to text", "text to image")
    ]
    assert [row[5] for row in rows] == ["chance 0.3333", f"chance {10 / 12:.4f}"]
    saved = json.loads((tmp_path / "runs/it/metrics.json").read_text())
    assert [f"{row['value']:.4f}" for row in saved] == [row[4] for row in rows]
    assert all(row["value"] > row["chance"] for row in saved)

    hint = f"hashcli index '{folder}' --model runs/it/teacher-32"
    assert done.stderr.splitlines()[-1] == f"To use the hash model: {hint}"
    hashcli("index", folder, "--model", "runs/it/teacher-32", "--index", "ix")
    assert len(hashcli("search", "--text", "a dog on a beach", "--index", "ix", "-k", "5").stdout.splitlines()) == 5

    refused = hashcli("distill", *arguments, status=1, **cache)
    assert "Continue it with --resume, or choose another --out." in refused.stderr
    assert hashcli("distill", *arguments, "--resume", **cache).stdout == done.stdout
    other = hashcli("distill", *arguments, "--resume", "--seed", "1", status=1, **cache)
    assert "holds a run with other settings (seed 0, not 1)" in other.stderr


@pytest.mark.parametrize("method", ["itq", "rank"])
def test_the_exported_codes_are_those_of_the_teacher_and_the_layers(
    folder: Path, clip: Path, tmp_path: Path, method: str
) -> None:
    """For what was held out, with the teacher's features computed anew."""
    plan = unpaired_plan(folder, f"local-dir:{clip}", tmp_path / "run", method)
    train_hash_models(plan, Kept())
    model = HashModel(tmp_path / "run" / "teacher-32", verify=True)
    image_tower, text_tower = open_teacher(f"local-dir:{clip}")
    rows = [*plan.split.train, *plan.split.validation, *plan.split.query]
    photos = [str(plan.dataset.images[row]) for row in rows]
    seen = [one for one in image_tower.encode_images(photos) if isinstance(one, np.ndarray)]
    sentences = choose_sentences(plan.dataset, plan.split)
    read = text_tower.encode_texts([*sentences.fitted, *sentences.held_out])
    image, text = (functional.normalize(torch.from_numpy(one)) for one in (np.stack(seen), read))
    fitted, known = len(photos) - len(plan.split.query), len(sentences.fitted)
    fit = load_method(method).fit  # type: ignore[union-attr]
    layers = fit(image[:fitted].numpy(), text[:known].numpy(), 32, plan.settings, lambda epoch: None)
    exported = [one for _, one in model.encode_image_files(photos[fitted:]) if isinstance(one, np.ndarray)]
    for outputs, expected, share in (
        (np.stack(exported), layers.image(image[fitted:]), 0.999),
        (model.encode_texts(sentences.held_out), layers.text(text[known:]), 0.98),  # weights may be int8
    ):
        different = np.bitwise_count(pack(outputs) ^ pack(expected.numpy())).sum()
        assert different <= (1 - share) * outputs.size


def test_the_card_says_what_the_layers_were_fitted_on(folder: Path, clip: Path, tmp_path: Path) -> None:
    """Captions are used where there are some, and photos without are used too."""
    captioned = sorted(folder.rglob("*.png"))[:60]
    for number, photo in enumerate(captioned):
        photo.with_suffix(".txt").write_text(f"stripes number {number}\nstripes\n")
    plan = unpaired_plan(folder, f"local-dir:{clip}", tmp_path / "run")
    train_hash_models(plan, Kept())
    fitted = [text for row in [*plan.split.train, *plan.split.validation] for text in plan.dataset.texts[row]]
    card = " ".join((tmp_path / "run" / "teacher-32" / "README.md").read_text().split())
    assert f"on 108 photos of own-my photos (ours, 12 of 120 photos as query, split {plan.split.checksum}" in card
    assert f"on {270 + len(set(fitted))} sentences: {len(set(fitted))} captions of these photos" in card
    assert len(set(fitted)) > 50
    description = HashModel(tmp_path / "run" / "teacher-32").description
    assert (description.name, description.method) == ("run-teacher-32", "itq")
    assert [metric.name for metric in description.metrics] == [f"image to text {FOUND}", f"text to image {FOUND}"]


def test_no_sentence_is_both_fitted_and_held_out(folder: Path, few_sentences: list[str]) -> None:
    for number, photo in enumerate(sorted(folder.rglob("*.png"))):
        photo.with_suffix(".txt").write_text(f"stripes number {number % 100}\n{few_sentences[number]}\n")
    dataset = load_dataset(str(folder))
    split = make_split(dataset, 0)
    chosen = choose_sentences(dataset, split)
    assert not {*chosen.fitted} & {*chosen.held_out}
    assert len({*chosen.fitted, *chosen.held_out}) == 300 + 100 == len(chosen.fitted) + len(chosen.held_out)
    trained = {text for row in [*split.train, *split.validation] for text in dataset.texts[row]}
    assert {*chosen.fitted[: chosen.captions]} == trained
    assert chosen == choose_sentences(dataset, split)
    assert chosen != choose_sentences(dataset, make_split(dataset, 1))


def test_a_hash_model_can_be_the_teacher(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    plan = unpaired_plan(folder, tiny_model, tmp_path / "run")
    rows = train_hash_models(replace(plan, settings=replace(plan.settings, bits=(32, 128))), Kept())
    assert {row["bits"] for row in rows} == {32, 128}
    assert rows[1]["value"] > rows[1]["chance"]
    assert HashModel(tmp_path / "run" / "teacher-128", verify=True).encode_texts(["a cat"]).shape == (1, 128)


def test_the_model_can_be_a_students_tower_and_cannot_be_updated(clip: Path, tmp_path: Path) -> None:
    """The student sees the outputs of its hash layer, and the exported student is checked against the trained one."""
    dataset = small_mirflickr(tmp_path / "data")
    settings = resolve_settings(method="itq", teacher=f"local-dir:{clip}", bits=(32,))
    train_hash_models(small_plan(dataset, settings, tmp_path), Kept())
    model = tmp_path / "run" / "teacher-32"
    plan = small_plan(dataset, short_settings("lcdh", model, epochs=1), tmp_path, "student")
    train_hash_models(plan, Kept())
    assert HashModel(plan.out / "model-16", verify=True).bits == 16
    with pytest.raises(HashcliError, match=r"teacher-32 cannot be updated: student\.safetensors is missing") as raised:
        load_student(model)
    assert "fitted anew" in raised.value.remedy


def test_a_dataset_with_labels_can_be_used(tiny_model: Path, tmp_path: Path) -> None:
    settings = resolve_settings(method="itq", teacher=str(tiny_model), bits=(32,))
    train_hash_models(small_plan(small_mirflickr(tmp_path / "data"), settings, tmp_path), Kept())
    assert (tmp_path / "run" / "teacher-32" / "model.json").exists()


def test_photos_that_cannot_be_read_are_left_out(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    class Counted(Kept):
        count = 0

        def left_out(self, count: int) -> None:
            self.count += count

    (folder / "0.png").write_bytes(b"")
    (folder / "3.png").write_bytes(b"not a photo")
    callback = Counted()
    train_hash_models(unpaired_plan(folder, tiny_model, tmp_path / "run"), callback)
    assert callback.count == 2


def test_too_few_photos_are_refused(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Before anything is computed, or where most of them cannot be read."""
    photos = sorted(folder.rglob("*.png"))
    for photo in photos[9:]:
        photo.write_bytes(b"")
    with pytest.raises(HashcliError, match=r"own-my photos: \d photos to fit on and \d to hold out are too few"):
        train_hash_models(unpaired_plan(folder, tiny_model, tmp_path / "broken"), Kept())
    for photo in photos[10:]:
        photo.unlink()
    with pytest.raises(
        HashcliError, match=r"own-my photos: 9 photos to fit on and 1 to hold out are too few"
    ) as raised:
        train_hash_models(unpaired_plan(folder, tiny_model, tmp_path / "run"), Kept())
    assert "12 photos or more" in raised.value.remedy
    assert not (tmp_path / "run").exists()


def test_other_methods_refuse_photos_without_texts(
    hashcli: Run, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """On the command line as soon as the folder is read, and in Python before anything is computed."""
    done = hashcli("distill", "--dataset", folder, "--teacher", tiny_model, status=1)
    assert done.stderr.splitlines() == [
        f"hashcli: {folder} holds 120 photos, and none has a text.",
        "Put the texts of photo.jpg into photo.txt beside it, one per line. "
        "Without any texts: hashcli distill --method rank",
    ]
    dataset: ImageTextDataset = load_dataset(str(folder), without_texts=True)
    for method in ("soda", "ckdh", "lcdh"):
        with pytest.raises(HashcliError, match=f"{method} learns from photos with texts") as raised:
            train_hash_models(small_plan(dataset, short_settings(method, tiny_model), tmp_path), Kept())
        assert "itq" in raised.value.remedy
    assert not (tmp_path / "run").exists()


def test_an_update_and_baselines_are_refused(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    plan = unpaired_plan(folder, tiny_model, tmp_path / "run")
    with pytest.raises(HashcliError, match="itq cannot update a model"):
        train_hash_models(replace(plan, update=tiny_model), Kept())
    with pytest.raises(HashcliError, match="itq has no baselines"):
        train_hash_models(replace(plan, baselines=True), Kept())
    assert not plan.out.exists()
