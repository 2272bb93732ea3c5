"""What a hash model says of itself: its model card, and the metrics in its description."""

from dataclasses import dataclass

import hashcli
from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.distillation.registry import load_method
from hashcli.distillation.settings import Settings
from hashcli.evaluation.ranking import Report
from hashcli.hashmodel.description import ReportedMetric


@dataclass(frozen=True)
class ModelCard:
    """`name`, `method`, `teacher` and `metrics` are those of model.json; `text` is README.md."""

    name: str
    method: str
    teacher: str
    metrics: list[ReportedMetric]
    text: str


@dataclass(frozen=True)
class Evaluation:
    """A trained student's metrics by direction, and the dataset and split on which they were measured."""

    reports: dict[str, Report]
    dataset: ImageTextDataset
    split: Split


def make_card(name: str, settings: Settings, evaluation: Evaluation) -> ModelCard:
    """The card of a model of the one code length in its settings."""
    reconstruction = load_method(settings.method).reconstruction
    method = f"{settings.method}, our reconstruction" if reconstruction else settings.method
    text = _card_text(settings, evaluation, reconstruction)
    return ModelCard(name, method, settings.teacher, _reported_metrics(evaluation), text)


def _reported_metrics(evaluation: Evaluation) -> list[ReportedMetric]:
    split = evaluation.split
    source = f"{evaluation.dataset.name}, {split.protocol}, seed {split.seed}, ties by row"
    return [
        ReportedMetric(f"{direction} {metric.name}", source, round(metric.value, 4), round(metric.chance, 4))
        for direction, report in evaluation.reports.items()
        for metric in report.metrics
    ]


def _card_text(settings: Settings, evaluation: Evaluation, reconstruction: bool) -> str:
    (bits,) = settings.bits
    split = evaluation.split
    method = settings.method + (", a reconstruction and not the authors' code" if reconstruction else "")
    lines = [
        f"# A hash model of {bits} bits",
        "",
        f"Made by hashcli {hashcli.__version__} with {method}, from the teacher {settings.teacher} and the student "
        f"{settings.student}, on {evaluation.dataset.name} ({split.protocol}, split {split.checksum}, seed "
        f"{split.seed}). run.json beside this folder has every setting.",
        "",
        "| direction | metric | result | chance |",
        "|---|---|---|---|",
    ]
    for direction, report in evaluation.reports.items():
        lines += [f"| {direction} | {one.name} | {one.value:.4f} | {one.chance:.4f} |" for one in report.metrics]
    lines += ["", *(f"Warning: {warning}." for warning in split.warnings)]
    return "\n".join(lines).rstrip() + "\n"
