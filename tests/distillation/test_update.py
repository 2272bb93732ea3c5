"""A hash model learns new pairs, and its old codes can still be searched."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from safetensors import safe_open
from safetensors.torch import save_file

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation import open_towers
from hashcli.distillation.run import train_hash_models
from hashcli.distillation.student import FILE_NAME, load_student, with_new_words
from hashcli.distillation.towers import HashModelTower
from hashcli.errors import HashcliError
from hashcli.hashmodel.model import HashModel
from tests.conftest import make_tiny_model
from tests.distillation.runs import (
    Kept,
    all_settings,
    resumed,
    short_settings,
    small_mirflickr,
    small_plan,
    some_pairs,
    update_plan,
)


@pytest.fixture(scope="module")
def mirflickr(tmp_path_factory: pytest.TempPathFactory) -> ImageTextDataset:
    return small_mirflickr(tmp_path_factory.mktemp("mirflickr"))


@pytest.fixture(scope="module")
def old_model(mirflickr: ImageTextDataset, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hash model that SODA has trained on the dataset. Not to be changed."""
    settings = short_settings("soda", tiny_model, epochs=20)
    plan = small_plan(mirflickr, settings, tmp_path_factory.mktemp("old"), "old")
    train_hash_models(plan, Kept())
    return plan.out / "model-16"


def test_a_model_learns_new_pairs_and_its_old_codes_stay(
    mirflickr: ImageTextDataset, old_model: Path, tmp_path: Path
) -> None:
    new_pairs = some_pairs(mirflickr, range(4, 44))
    plan = update_plan(old_model, new_pairs, tmp_path, "new", epochs=5)
    callback = Kept()
    train_hash_models(plan, callback)
    ((image, text),) = callback.kept
    assert min(image, text) > 0.8
    assert {stage for _, stage, _ in callback.epochs} == {"update"}
    assert HashModel(plan.out / "model-16").fingerprint != HashModel(old_model).fingerprint
    before, after = load_student(old_model), load_student(plan.out / "model-16")
    assert after.learned == before.learned + len(np.unique(plan.split.train))
    assert after.vocabulary[: len(before.vocabulary)] == before.vocabulary
    assert callback.evaluations[0] == (16, "before the update")
    assert callback.evaluations[-1] == (16, "soda")
    with pytest.raises(HashcliError, match="another model to update"):
        train_hash_models(resumed(replace(plan, update=plan.out / "model-16")), Kept())


def test_a_model_trained_on_labels_learns_captions_without_labels(
    mirflickr: ImageTextDataset, old_model: Path, tmp_path: Path
) -> None:
    """SODA needs labels, but an update does not: the teacher then decides what is similar."""
    captions = replace(some_pairs(mirflickr, range(4, 44)), labels=None, label_names=[])
    plan = update_plan(old_model, captions, tmp_path, "new", epochs=1)
    callback = Kept()
    train_hash_models(plan, callback)
    assert callback.epochs == [(16, "update", 1)]
    assert load_student(plan.out / "model-16").anchors.labels is None


def test_an_update_learns_words_that_the_model_did_not_know(
    mirflickr: ImageTextDataset, old_model: Path, tmp_path: Path
) -> None:
    """To the old model texts of new words are all alike; it has the codes it had for all others."""
    other_words = [[" ".join(f"new{word}" for word in text.split()) for text in own] for own in mirflickr.texts]
    captions = replace(some_pairs(mirflickr, range(4, 58)), texts=other_words[4:58], labels=None, label_names=[])
    plan = update_plan(old_model, captions, tmp_path, "new", epochs=20)
    train_hash_models(plan, Kept())
    before, after = load_student(old_model), load_student(plan.out / "model-16")
    assert set(other_words[4][0].split()) <= set(after.vocabulary)
    texts = [text for own in captions.texts for text in own]
    old, new = (HashModel(model).encode_texts(texts) for model in (old_model, plan.out / "model-16"))
    assert np.ptp(old, axis=0).max() < 1e-5
    assert np.ptp(new, axis=0).max() > 1e-2

    wider = with_new_words(before, [before.vocabulary[0], "neologism"])
    assert wider.vocabulary == [*load_student(old_model).vocabulary, "neologism"]
    outputs = wider.heads.text(wider.anchors.text)
    assert np.array_equal(np.where(outputs.detach().numpy() > 0, 1, -1), before.anchors.text_codes.numpy())


def test_a_student_of_a_hash_models_outputs_is_updated_on_them(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As version 0.2 trained it; a student that is trained now has features of the backbone's layers, or the last."""
    plan = small_plan(mirflickr, short_settings("ckdh", tiny_model, epochs=1), tmp_path, "old")
    with monkeypatch.context() as before:
        before.setattr(open_towers, "open_image_tower", lambda name, device, of_hash_model: HashModelTower(name))
        train_hash_models(plan, Kept())
    old = load_student(plan.out / "model-16")
    assert old.towers["student"].startswith("hashmodel-")
    update = update_plan(plan.out / "model-16", some_pairs(mirflickr, range(4, 44)), tmp_path, "new", epochs=1)
    train_hash_models(update, Kept())
    assert load_student(update.out / "model-16").towers == old.towers
    for layers, kind in ((True, "layers-"), (False, "backbone-")):
        now = replace(plan, settings=replace(plan.settings, student_layers=layers), out=tmp_path / kind)
        train_hash_models(now, Kept())
        towers = load_student(now.out / "model-16").towers
        assert towers["student"].startswith(kind)
        update = update_plan(now.out / "model-16", some_pairs(mirflickr, range(4, 44)), tmp_path, f"new-{kind}")
        train_hash_models(update, Kept())
        assert load_student(update.out / "model-16").towers == towers


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"bits": 32}, "has bits 16, which 32 cannot replace"),
        ({"hidden": 32}, "has hidden 16, which 32"),
        ({"student_layers": False}, "has student_layers true, which false"),
        ({"method": "ckdh"}, "has method soda, which ckdh"),
        ({"tune_student": "last"}, "has tune_student head, which last"),
    ],
)
def test_what_made_the_model_cannot_be_changed(
    mirflickr: ImageTextDataset, old_model: Path, tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    plan = update_plan(old_model, mirflickr, tmp_path, "new", **values)
    with pytest.raises(HashcliError, match=f"The model to update {said}"):
        train_hash_models(plan, Kept())
    assert not plan.out.exists()


def test_an_update_needs_the_towers_that_the_model_learned_from(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path
) -> None:
    tower = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    plan = small_plan(mirflickr, short_settings("soda", tower, epochs=1), tmp_path)
    train_hash_models(plan, Kept())
    shutil.rmtree(tower)
    make_tiny_model(tower, seed=1)
    with pytest.raises(HashcliError, match="The model to update knows the teacher hashmodel-"):
        train_hash_models(update_plan(plan.out / "model-16", mirflickr, tmp_path, "new"), Kept())


def test_a_model_of_version_0_1_is_updated(mirflickr: ImageTextDataset, old_model: Path, tmp_path: Path) -> None:
    """It has the settings of all methods, and lacks what has been added since."""
    model = Path(shutil.copytree(old_model, tmp_path / "model"))
    with safe_open(model / FILE_NAME, framework="pt") as file:
        about = json.loads(file.metadata()["hashcli"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
    about["config"] = all_settings() | about["config"]
    del about["config"]["keep"]
    save_file(tensors, model / FILE_NAME, metadata={"hashcli": json.dumps(about)})
    assert load_student(model).settings == load_student(old_model).settings
    train_hash_models(update_plan(model, some_pairs(mirflickr, range(4, 44)), tmp_path, "new", epochs=1), Kept())
    assert HashModel(tmp_path / "new" / "model-16", verify=True).bits == 16


def test_a_tuned_student_is_updated_again_and_again(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path
) -> None:
    """Its tower, which exists in the exported model alone, is taken from there, and is not tuned again."""
    pytest.importorskip("timm", exc_type=ImportError)
    values = {"student": "timm:test_resnet/random", "tune_student": "last", "tune_epochs": 1, "epochs": 1}
    part = some_pairs(mirflickr, range(24))
    plan = small_plan(part, short_settings("soda", tiny_model, **values), tmp_path, "tuned")
    callback = Kept()
    train_hash_models(plan, callback)
    assert callback.epochs[0] == (0, "tune-student", 1)
    model = plan.out / "model-16"
    key = load_student(model).towers["student"]
    assert "-tuned-" in key
    new_pairs = some_pairs(mirflickr, range(24, 48))
    for name in ("first", "second"):
        plan = update_plan(model, new_pairs, tmp_path, name, epochs=1, keep=1000.0, learning_rate=1e-5)
        callback = Kept()
        train_hash_models(plan, callback)
        assert [stage for _, stage, _ in callback.epochs] == ["update"]
        assert min(callback.kept[0]) > 0.9  # the anchors' features are those that the tower gives
        new = plan.out / "model-16"
        assert load_student(new).towers["student"] == key
        one, other = (HashModel(folder) for folder in (model, new))
        pixels = np.stack([one.load_pixels(str(path)) for path in new_pairs.images[:4]])
        assert one.encode_pixels(pixels) == pytest.approx(other.encode_pixels(pixels), abs=0.05)
        model = new
    train_hash_models(resumed(plan), Kept())
    other_student = update_plan(model, new_pairs, tmp_path, "other", student=str(tiny_model))
    with pytest.raises(HashcliError, match="The model to update has student timm:test_resnet/random"):
        train_hash_models(other_student, Kept())
