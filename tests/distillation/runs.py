"""Small runs, in process: the dataset, a plan, and a callback that keeps what it is called with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import make_split
from hashcli.distillation.callbacks import RunCallback
from hashcli.distillation.registry import METHODS
from hashcli.distillation.resolve import resolve_settings
from hashcli.distillation.run_plan import RunPlan
from hashcli.distillation.settings import Settings
from hashcli.distillation.student import load_student
from hashcli.distillation.training_loop import EpochReport
from hashcli.evaluation.ranking import Report
from tests.datasets.layouts import make_mirflickr

torch.set_num_threads(1)

SHORT = {"epochs": 2, "hidden": 16, "bits": 16}
OWN_SHORT: dict[str, dict[str, Any]] = {"lcdh": {"rounds": 2, "round_steps": 2}}


class Kept(RunCallback):
    """Keeps epochs as (bits, stage, number), and what was evaluated."""

    def __init__(self) -> None:
        self.epochs: list[tuple[int, str, int]] = []
        self.evaluations: list[tuple[int, str]] = []
        self.kept: list[tuple[float, float]] = []

    def epoch_ended(self, bits: int, epoch: EpochReport) -> None:
        self.epochs.append((bits, epoch.stage, epoch.number))

    def evaluated(self, what: str, bits: int, reports: dict[str, Report]) -> None:
        self.evaluations.append((bits, what))

    def bits_kept(self, bits: int, image: float, text: float) -> None:
        self.kept.append((image, text))


def short_settings(method: str, model: Path, **values: Any) -> Settings:
    """Settings for a run of a second or two with a hash model as teacher and student."""
    names = {"teacher": str(model), "student": str(model)}
    return resolve_settings(method=method, **names | SHORT | OWN_SHORT.get(method, {}) | values)


def small_mirflickr(folder: Path) -> ImageTextDataset:
    """60 photos that show a dog or the sky, one text each."""
    return load_dataset("mirflickr", make_mirflickr(folder, photos=60))


def small_plan(dataset: ImageTextDataset, settings: Settings, folder: Path, name: str = "run") -> RunPlan:
    """A run in `folder`, whose cache of features is there too."""
    return RunPlan(dataset, make_split(dataset, settings.seed), settings, folder / name, folder / "cache")


def resumed(plan: RunPlan, **settings: Any) -> RunPlan:
    """The same run taken up again, with other settings if they are given."""
    return replace(plan, resume=True, settings=replace(plan.settings, **settings))


def update_plan(model: Path, dataset: ImageTextDataset, folder: Path, name: str, **settings: Any) -> RunPlan:
    """An update of a model with a dataset."""
    resolved = resolve_settings(base=load_student(model).settings, **settings)
    return replace(small_plan(dataset, resolved, folder, name), update=model)


def some_pairs(dataset: ImageTextDataset, rows: range) -> ImageTextDataset:
    """Part of a dataset as a custom dataset, with the same labels."""
    chosen = list(rows)
    labels = None if dataset.labels is None else dataset.labels[chosen]
    ids, images, texts = ([column[row] for row in chosen] for column in (dataset.ids, dataset.images, dataset.texts))
    return ImageTextDataset("part", ids, images, texts, labels, dataset.label_names)  # type: ignore[arg-type]


def save_as_version_0_1(run: Path) -> None:
    """Rewrite run.json with the settings that version 0.1 saved: those of all methods together."""
    path = run / "run.json"
    saved = json.loads(path.read_text())
    saved["config"] = all_settings() | saved["config"]
    del saved["method_version"]
    path.write_text(json.dumps(saved, indent=2) + "\n")


def all_settings() -> dict[str, Any]:
    """The defaults of all methods' settings together."""
    together: dict[str, Any] = {}
    for method in METHODS:
        together |= resolve_settings(method=method).to_json()
    return together
