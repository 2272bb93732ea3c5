"""Towers that are fine-tuned: a small open_clip model on real photos."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("open_clip", exc_type=ImportError)

import torch

from hashcli.distillation.ckdh import CkdhSettings
from hashcli.distillation.open_towers import open_teacher
from hashcli.distillation.registry import load_method
from hashcli.distillation.towers import HashModelTower, Precision, TorchImageTower
from hashcli.distillation.trainer import HashHeads, Trainer
from hashcli.distillation.training_loop import EpochReport
from hashcli.distillation.training_set import SupervisedRows, TrainingSet
from hashcli.distillation.tuning import TunedTower, tunable, tune_student
from hashcli.errors import HashcliError
from tests.distillation.planted import train, weights
from tests.distillation.small_clip import make_small_clip

torch.set_num_threads(1)


@pytest.fixture
def paths(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))


def open_small(tmp_path: Path, precision: Precision = "float32") -> TorchImageTower:
    tower, _ = open_teacher(f"local-dir:{make_small_clip(tmp_path / 'clip')}", "cpu", precision)
    return tunable(tower, "tune_teacher")


def train_on_photos(
    method: str, tower: TorchImageTower | None, paths: list[Path], checkpoints: Path, **settings: Any
) -> HashHeads:
    """A teacher of the photos, each with two texts, and its student."""
    checkpoints.mkdir(exist_ok=True)
    rng = torch.Generator().manual_seed(0)
    photo = torch.arange(len(paths)).repeat(2)
    features = TunedTower(tower, "last").features(paths)[photo] if tower else torch.rand(len(photo), 32, generator=rng)
    training_set = TrainingSet(
        photos=paths,
        photo_of=photo,
        teacher_image=features,
        teacher_text=torch.rand(len(photo), 32, generator=rng),
        image=torch.rand(len(photo), 20, generator=rng),
        text=(torch.rand(len(photo), 30, generator=rng) > 0.7).float(),
        labels=torch.nn.functional.one_hot(photo % 3).float(),
        label_names=["a", "b", "c"],
        neighbours=0,
        prompts=lambda sentences: torch.ones(len(sentences), 32),
        teacher_tower=tower,
    )
    quick: dict[str, Any] = {"epochs": 2, "batch": 12, "hidden": 16, "tune_learning_rate": 1e-3}
    quick |= {"rounds": 1, "round_steps": 2} if method == "lcdh" else {}
    chosen = load_method(method).settings(method=method, **quick | settings)
    return train(Trainer(training_set, chosen, 16, checkpoints, lambda epoch: None))


@pytest.mark.parametrize(
    ("method", "precision"), [("soda", "float32"), ("ckdh", "float32"), ("ckdh", "bfloat16"), ("lcdh", "float32")]
)
def test_a_method_tunes_the_last_block_within_the_teachers_stage(
    paths: list[Path], tmp_path: Path, method: str, precision: Precision
) -> None:
    """Its gradients are of the method's own loss; what is before the last block stays, and so does the tower that was
    given, for the next code length begins with it."""
    tower = open_small(tmp_path, precision)
    before = weights(tower)
    one = train_on_photos(method, tower, paths, tmp_path / "one", tune_teacher="last")
    saved = torch.load(tmp_path / "one" / f"{method}-teacher.pt", weights_only=True)["modules"]
    tuned = {
        name.removeprefix("tower.tower."): value.numpy().tobytes()
        for name, value in saved.items()
        if name.startswith("tower.")
    }
    assert tuned.keys() == before.keys()
    changed = {name for name in tuned if tuned[name] != before[name]}
    assert changed
    assert {name.rpartition("resblocks.1")[1] or name for name in changed} <= {
        "resblocks.1",
        "encoder.ln_post.weight",
        "encoder.ln_post.bias",
        "encoder.proj",
    }
    assert weights(tower) == before
    student = next((tmp_path / "one").glob(f"{method}-[!t]*.pt"))  # or the round of LCDH's
    student.unlink()
    resumed = train_on_photos(method, tower, paths, tmp_path / "one", tune_teacher="last")
    assert weights(resumed.modules()) == weights(one.modules())
    frozen = train_on_photos(method, None, paths, tmp_path / "frozen")
    assert weights(frozen.modules()) != weights(one.modules())


def test_sodas_teacher_is_tuned_where_teacher_and_student_are_trained_at_once(
    paths: list[Path], tmp_path: Path
) -> None:
    tower = open_small(tmp_path)
    train_on_photos("soda", tower, paths, tmp_path / "one", tune_teacher="last", two_stages=False)
    (saved,) = (torch.load(path, weights_only=True)["modules"] for path in (tmp_path / "one").iterdir())
    before = tower.state_dict()
    changed = [name for name in before if not torch.equal(saved[f"tower.tower.{name}"], before[name])]
    assert any("resblocks.1" in name for name in changed)


def test_a_tuned_tower_has_gradients_and_is_never_in_training_mode(paths: list[Path], tmp_path: Path) -> None:
    tower = TunedTower(open_small(tmp_path), "full")
    tower.train()
    assert not tower.tower.encoder.training
    features = tower(paths[:3])
    assert features.norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    features[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in tower.tower.encoder.transformer.parameters())


def test_tuning_a_students_tower_gives_another_tower(paths: list[Path], tmp_path: Path) -> None:
    tower = open_small(tmp_path)
    before, key = weights(tower), tower.key
    settings = CkdhSettings(
        method="ckdh", tune_student="last", tune_epochs=1, tune_batch=4, hidden=16, tune_learning_rate=1e-3
    )
    epochs: list[EpochReport] = []
    photo = torch.arange(len(paths)).repeat_interleave(2)  # two texts each, of which the first counts
    features = torch.nn.functional.normalize(torch.rand(len(photo), tower.width))
    labels = torch.nn.functional.one_hot(photo % 2).float()
    rows = SupervisedRows(paths, photo, features, features, labels, ["a", "b"], neighbours=0)
    (tmp_path / "checkpoints").mkdir()
    tuned = tune_student(tower, rows, settings, tmp_path / "checkpoints", epochs.append)
    assert (weights(tower), tower.key) == (before, key)
    assert weights(tuned) != before
    assert tuned.key.startswith(f"{key}-tuned-")
    assert set(epochs[0].losses) == {"likelihood", "contrast"}
    assert not any(parameter.requires_grad for parameter in tuned.parameters())


def test_what_has_no_torch_tower_cannot_be_tuned(tiny_model: Path) -> None:
    with pytest.raises(HashcliError, match="tune_student: a hash model's tower cannot be tuned"):
        tunable(HashModelTower(str(tiny_model)), "tune_student")
    with pytest.raises(HashcliError, match="tune_teacher: features without a tower cannot be tuned"):
        tunable(None, "tune_teacher")
