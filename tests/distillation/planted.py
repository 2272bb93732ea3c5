"""A small problem with a known answer: photos and texts of six classes, as features with noise."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hashcli.distillation.registry import METHODS, load_method
from hashcli.distillation.trainer import HashHeads, Method, Trainer
from hashcli.distillation.training_loop import EpochReport
from hashcli.distillation.training_set import TrainingSet
from hashcli.evaluation.ranking import evaluate_labels
from hashcli.hashmodel.codes import pack

torch.set_num_threads(1)

CLASSES, TEACHER_WIDTH, IMAGE_WIDTH, WORDS = 6, 48, 40, 60
BITS = 32

PAIRED = [name for name in METHODS if load_method(name).needs_texts]  # the methods that train a student


def make_training_set(
    items: int,
    seed: int,
    *,
    labels: bool = True,
    classes: Sequence[int] = range(CLASSES),
    neighbours: float = 0.25,
    teacher_noise: float = 0.7,
) -> TrainingSet:
    """Items of one or two of the classes. Each class has its directions in both feature spaces and ten words."""
    world = np.random.default_rng(0)  # the same for training and test items
    teacher_directions = world.standard_normal((CLASSES, TEACHER_WIDTH))
    image_directions = world.standard_normal((CLASSES, IMAGE_WIDTH))
    own_words = np.arange(WORDS) % CLASSES == np.arange(CLASSES)[:, None]  # [classes, words]

    rng = np.random.default_rng(seed)
    shown = np.zeros((items, CLASSES))
    for row in shown:
        row[rng.choice(classes, rng.integers(1, 3), replace=False)] = 1

    def features(directions: np.ndarray, noise: float) -> Tensor:
        made = shown @ directions + noise * rng.standard_normal((items, directions.shape[1]))
        return torch.from_numpy(made / np.linalg.norm(made, axis=1, keepdims=True)).float()

    def prompts(sentences: list[str]) -> Tensor:
        """Each class's direction where its name stands in the sentence."""
        named = np.array([[f"class {k}" in sentence for k in range(CLASSES)] for sentence in sentences], float)
        return torch.nn.functional.normalize(torch.from_numpy(named @ teacher_directions).float())

    uses = rng.random((items, WORDS)) < np.where(shown @ own_words > 0, 0.4, 0.03)
    return TrainingSet(
        photos=[Path(f"{row}.png") for row in range(items)],
        photo_of=torch.arange(items),
        teacher_image=features(teacher_directions, teacher_noise),
        teacher_text=features(teacher_directions, teacher_noise),
        image=features(image_directions, 1.0),
        text=torch.from_numpy(uses).float(),
        labels=torch.from_numpy(shown).float() if labels else None,
        label_names=[f"class_{k}" for k in range(CLASSES)],
        neighbours=neighbours,
        prompts=prompts,
        teacher_tower=None,
    )


def quick_settings(method: str) -> dict[str, Any]:
    """Settings for a training of a second or two: large steps, and little dropout with so few features."""
    own = {"rounds": 3, "round_steps": 36} if method == "lcdh" else {}
    dropout = {"dropout": 0.1, "image_dropout": 0.1, "text_dropout": 0.0}
    return {"epochs": 12, "batch": 64, "hidden": 64, "learning_rate": 3e-3, "anchors": 50} | dropout | own


def make_trainer(
    method: str,
    training_set: TrainingSet,
    checkpoints: Path | None = None,
    on_epoch: Callable[[EpochReport], None] = lambda epoch: None,
    **settings: Any,
) -> Trainer[Any]:
    """A trainer with settings for a quick training, or those given."""
    chosen = load_method(method).settings(method=method, **quick_settings(method) | settings)
    return Trainer(training_set, chosen, BITS, checkpoints, on_epoch)


def train(trainer: Trainer[Any]) -> HashHeads:
    """Train by the method of the trainer's settings."""
    method = load_method(trainer.settings.method)
    assert isinstance(method, Method)
    return method.train(trainer)


def mean_average_precisions(
    heads: HashHeads, query: TrainingSet, database: TrainingSet
) -> dict[str, tuple[float, float]]:
    """mAP@all and its chance, by direction. Both sets need labels."""
    assert query.labels is not None
    assert database.labels is not None
    heads.modules().eval()
    with torch.inference_mode():
        codes = [
            (pack(heads.image(part.image).numpy()), pack(heads.text(part.text).numpy())) for part in (query, database)
        ]
    (query_image, query_text), (database_image, database_text) = codes
    values = {}
    for direction, query_codes, database_codes in (
        ("image to text", query_image, database_text),
        ("text to image", query_text, database_image),
    ):
        report = evaluate_labels(query_codes, query.labels.numpy(), database_codes, database.labels.numpy())
        (metric,) = [one for one in report.metrics if one.name == "mAP@all"]
        values[direction] = metric.value, metric.chance
    return values


def weights(module: torch.nn.Module) -> dict[str, bytes]:
    """Every tensor of a module, to the bit."""
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}
