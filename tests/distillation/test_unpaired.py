"""Runs of a method without pairs: photos alone, and a teacher, become a hash model of that teacher."""

import json
import shlex
from collections.abc import Sequence
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
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.open_towers import open_teacher
from hashcli.distillation.registry import load_method
from hashcli.distillation.resolve import resolve_settings
from hashcli.distillation.run import train_hash_models
from hashcli.distillation.run_plan import RunPlan
from hashcli.distillation.sentences import choose_sentences, everyday_sentences
from hashcli.distillation.student import load_student
from hashcli.distillation.towers import TextTower
from hashcli.distillation.unpaired import encode_sentences
from hashcli.distillation.unpaired_student import fit_layer
from hashcli.errors import HashcliError
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel
from tests.conftest import Run, json_rows
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


class CountedTexts:
    """A text tower that counts the texts it encodes."""

    def __init__(self, tower: TextTower) -> None:
        self.tower, self.key, self.width, self.seen = tower, tower.key, tower.width, 0

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.seen += len(texts)
        return self.tower.encode_texts(texts)


def unpaired_plan(folder: Path, teacher: object, out: Path, method: str = "itq", **values: object) -> RunPlan:
    """Without a student, if none is named."""
    dataset = load_dataset(str(folder), without_texts=True)
    named = {"student": "none"} | values | ({"steps": 20} if method == "rank" else {})
    assignments = [f"{name}={value}" for name, value in named.items()]
    settings = resolve_settings(assignments=assignments, method=method, teacher=str(teacher), bits=(32,))
    return RunPlan(dataset, make_split(dataset, 0), settings, out, out.parent / "cache")


def test_photos_alone_become_models_that_index_and_search(
    hashcli: Run, folder: Path, clip: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Also where the default index is of another model, as the closing lines of the run say."""
    arguments = (
        "--dataset",
        folder,
        "--teacher",
        f"local-dir:{clip}",
        "--student",
        tiny_model,
        "--method",
        "itq",
        "--bits",
        "16,32",
        "--out",
        "runs/it",
    )
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = hashcli("distill", *arguments, **cache)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:4] for row in rows] == [
        [kind, f"{bits} bits", direction, FOUND]
        for bits in (16, 32)
        for kind in ("teacher", "student")
        for direction in ("image to text", "text to image")
    ]
    assert [row[5] for row in rows] == ["chance 0.3333", f"chance {10 / 12:.4f}"] * 4
    saved = json.loads((tmp_path / "runs/it/metrics.json").read_text())
    assert [f"{row['value']:.4f}" for row in saved] == [row[4] for row in rows]
    assert all(row["value"] > row["chance"] for row in saved if row["of"] == "teacher")

    hashcli("index", folder, "--model", tiny_model)
    hints = done.stderr.splitlines()[-2:]
    for kind, what, hint in zip(("teacher", "student"), ("teacher", "light student"), hints, strict=True):
        start, command = hint.split(": hashcli ")
        assert start == f"To use the {what}"
        assert f"--model runs/it/{kind}-32" in command
        hashcli(*shlex.split(command))
        own = ("--index", f"runs/it/index-{kind}-32")
        assert len(hashcli("search", "--text", "a dog on a beach", *own, "-k", "5").stdout.splitlines()) == 5

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


def test_without_a_method_photos_without_texts_take_rank(
    hashcli: Run, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """The run has the folder's name. Captions, or a method that is named, leave all as it was."""
    models = ("--teacher", tiny_model, "--student", tiny_model)
    short = ("--bits", "32", "--json")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    arguments = ("distill", "--dataset", folder, *models, *short)
    done = hashcli(*arguments, "--set", "steps=20", **cache)
    assert "None of the photos has a text, so the method is rank, which needs none." in done.stderr.splitlines()
    assert {path.name for path in (tmp_path / "runs/my-photos").iterdir() if path.is_dir()} == {
        "checkpoints",
        "student-32",
        "teacher-32",
    }
    assert {row["of"] for row in json_rows(done)} == {"teacher", "student"}
    named = hashcli(*arguments, "--method", "itq", **cache)
    assert "so the method is" not in named.stderr
    assert (tmp_path / "runs/own-my photos-itq-0/student-32").is_dir()
    for photo in sorted(folder.rglob("*.png")):
        photo.with_suffix(".txt").write_text("a dog\na cat\n")
    captioned = hashcli(*arguments, status=1, **cache)
    assert "SODA turns labels into prompts, and this dataset has no labels." in captioned.stderr


@pytest.mark.parametrize("text", ["teacher", "bag", "a hash model"])
def test_the_students_codes_lie_in_the_teachers_space(
    folder: Path, clip: Path, tiny_model: Path, tmp_path: Path, text: str
) -> None:
    """With the teacher's own text half, texts have the same codes. Else they are near the teacher's."""
    name = {"teacher": "teacher", "bag": "bag"}.get(text, str(tiny_model))
    plan = unpaired_plan(folder, f"local-dir:{clip}", tmp_path / "run", student=tiny_model, text=name)
    train_hash_models(plan, Kept())
    teacher, student = (HashModel(tmp_path / "run" / f"{kind}-32", verify=True) for kind in ("teacher", "student"))
    sentences = choose_sentences(plan.dataset, plan.split).fitted
    of_teacher, of_student = teacher.encode_texts(sentences), student.encode_texts(sentences)
    if text == "teacher":
        assert np.array_equal(of_teacher, of_student)
        same = [(model.folder / "text.onnx").read_bytes() for model in (teacher, student)]
        assert same[0] == same[1]
    photos = [plan.dataset.images[row] for row in plan.split.train]
    for known, given in (
        (of_teacher, of_student),
        (teacher.encode_images(photos), student.encode_images(photos)),
    ):
        assert ((known > 0) == (given > 0)).mean() > 0.53  # towers with drawn weights have little in common
    card = (student.folder / "README.md").read_text()
    assert "a light student of teacher-32" in card
    said = {"teacher": "the text half of teacher-32", "bag": "bags of words"}.get(text, str(tiny_model))
    assert said in " ".join(card.split())


def test_a_run_that_is_resumed_fits_nothing_again(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Killed after the teacher was written: it stays as it is, and the student follows."""

    class Killed(Kept):
        def evaluated(self, what: str, bits: int, reports: object) -> None:
            if what == "student":
                raise KeyboardInterrupt

    plan = unpaired_plan(folder, tiny_model, tmp_path / "run", "rank", student=tiny_model)
    with pytest.raises(KeyboardInterrupt):
        train_hash_models(plan, Killed())
    written = (tmp_path / "run/teacher-32/model.json").stat().st_mtime_ns
    again = Kept()
    rows = train_hash_models(replace(plan, resume=True), again)
    assert again.epochs == []
    assert [what for _, what in again.evaluations] == ["teacher", "student"]
    assert (tmp_path / "run/teacher-32/model.json").stat().st_mtime_ns == written
    whole = train_hash_models(replace(plan, out=tmp_path / "whole"), Kept())
    assert rows == whole
    first, second = (HashModel(tmp_path / name / "student-32").fingerprint for name in ("run", "whole"))
    assert first == second


def test_everyday_sentences_are_encoded_once_for_all_datasets_and_seeds(
    tiny_model: Path, tmp_path: Path, few_sentences: list[str]
) -> None:
    texts = ["stripes", few_sentences[3], "noise", "stripes"]
    tower = open_teacher(str(tiny_model))[1]
    counted = CountedTexts(tower)
    first = encode_sentences(counted, [*few_sentences[::-1], *texts], FeatureCache(tmp_path, "one", lambda count: None))
    assert counted.seen == len(few_sentences) + 2
    second = encode_sentences(counted, few_sentences[5:], FeatureCache(tmp_path, "other", lambda count: None))
    assert counted.seen == len(few_sentences) + 2
    assert torch.equal(first[: len(few_sentences) - 5].flip(0), second)
    expected = functional.normalize(torch.from_numpy(tower.encode_texts(texts)))
    assert torch.allclose(first[len(few_sentences) :], expected, atol=1e-6)


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


def test_a_layer_is_fitted_by_ridge_regression() -> None:
    """It finds a linear map, with a constant feature among them, and from few items keeps to moderate outputs."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5_000, 20, generator=generator) * torch.logspace(-2, 2, 20)
    features[:, 7] = 3.0
    weight = torch.randn(20, 16, generator=generator) / torch.logspace(-2, 2, 20)[:, None]
    outputs = (features - features.mean(dim=0)) @ weight
    layer = fit_layer(features, outputs)
    agree = (layer(features) > 0) == (outputs > 0)
    assert agree.float().mean() > 0.99
    few = fit_layer(features[:12], outputs[:12])
    assert few(features).std() < 2 * outputs.std()


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
    settings = resolve_settings(method="itq", teacher=str(tiny_model), student="none", bits=(32,))
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
    done = hashcli("distill", "--dataset", folder, "--teacher", tiny_model, "--method", "soda", status=1)
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
