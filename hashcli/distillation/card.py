"""What a hash model says of itself: its model card, and the metrics in its description."""

from dataclasses import dataclass

import hashcli
from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.distillation.feature_files import PREFIX
from hashcli.distillation.registry import load_method
from hashcli.distillation.settings import Settings
from hashcli.evaluation.ranking import Report
from hashcli.evaluation.retrieval import main_results
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
    """A hash model's metrics by direction, and the dataset and split on which they were measured."""

    reports: dict[str, Report]
    dataset: ImageTextDataset
    split: Split


@dataclass(frozen=True)
class Fitted:
    """On how many photos and sentences hash layers were fitted, and how many were held out to evaluate them.

    The first `captions` of the sentences are captions of these photos, and the others are from `other_sentences`.
    """

    photos: int
    sentences: int
    captions: int
    held_out_photos: int
    held_out_sentences: int
    other_sentences: str


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
        for direction, report in main_results(evaluation.reports).items()
        for metric in report.metrics
    ]


def _card_text(settings: Settings, evaluation: Evaluation, reconstruction: bool) -> str:
    (bits,) = settings.bits
    split = evaluation.split
    method = settings.method + (", a reconstruction and not the authors' code" if reconstruction else "")
    about = (
        f"Made by hashcli {hashcli.__version__} with {method}, from the teacher {settings.teacher} and the student "
        f"{settings.student}, on {evaluation.dataset.name} ({split.protocol}, split {split.checksum}, seed "
        f"{split.seed}). run.json beside this folder has every setting."
    )
    return _page(bits, [about, "", *_table(evaluation), "", *(f"Warning: {warning}." for warning in split.warnings)])


def make_unpaired_card(name: str, settings: Settings, evaluation: Evaluation, fitted: Fitted) -> ModelCard:
    """The card of a teacher with hash layers, of the one code length in its settings."""
    about = (
        f"Made by hashcli {hashcli.__version__} with {settings.method}: the image and text towers of the teacher "
        f"{settings.teacher}, unchanged, each with a linear hash layer. The layers were fitted on "
        f"{_fitted_on(evaluation, fitted)}"
    )
    return _unpaired_card(name, settings, evaluation, fitted, about)


def make_unpaired_student_card(name: str, settings: Settings, evaluation: Evaluation, fitted: Fitted) -> ModelCard:
    """The card of the light student of such a teacher."""
    (bits,) = settings.bits
    teacher = f"teacher-{bits} beside it, which is {settings.teacher} with hash layers"
    if settings.teacher.startswith(PREFIX):
        teacher = f"hash layers on the vectors in {settings.teacher.removeprefix(PREFIX)}"
    text = {
        "teacher": f"Texts are read by the text half of teacher-{bits}, which is the same here.",
        settings.teacher: f"Texts are read by the text half of teacher-{bits}, which is the same here.",
        "bag": "Texts are read as bags of words, by a linear layer that was fitted on the sentences.",
    }.get(settings.text, f"Texts are read by {settings.text} with a linear layer that was fitted on the sentences.")
    about = (
        f"Made by hashcli {hashcli.__version__} with {settings.method}: a light student of {teacher}. "
        f"The image tower is {settings.student}, unchanged, with a "
        f"linear layer that was fitted to give the teacher's codes. {text} Teacher and student were fitted on "
        f"{_fitted_on(evaluation, fitted)}"
    )
    return _unpaired_card(name, settings, evaluation, fitted, about)


def _fitted_on(evaluation: Evaluation, fitted: Fitted) -> str:
    split = evaluation.split
    return (
        f"{fitted.photos:,} photos of {evaluation.dataset.name} ({split.protocol}, split {split.checksum}, seed "
        f"{split.seed}) and on {fitted.sentences:,} sentences: {fitted.captions:,} captions of these photos, the "
        f"others from {fitted.other_sentences}. Which photo a caption belongs to was not used. run.json "
        "beside this folder has every setting."
    )


def _unpaired_card(name: str, settings: Settings, evaluation: Evaluation, fitted: Fitted, about: str) -> ModelCard:
    (bits,) = settings.bits
    lines = [
        about,
        "",
        *_table(evaluation),
        "",
        f"The metric says which share of the teacher's own 10 nearest items a search by codes finds among its first "
        f"10, on {fitted.held_out_photos:,} photos and {fitted.held_out_sentences:,} sentences that were held out. It "
        "does not say whether the teacher is right, and it is easier with few items, as chance shows. Photos or "
        "queries unlike those that the layers were fitted on may be found less well.",
        "",
        *(f"Warning: {warning}." for warning in evaluation.split.warnings),
    ]
    return ModelCard(name, settings.method, settings.teacher, _reported_metrics(evaluation), _page(bits, lines))


def _table(evaluation: Evaluation) -> list[str]:
    rows = [
        f"| {direction} | {one.name} | {one.value:.4f} | {one.chance:.4f} |"
        for direction, report in main_results(evaluation.reports).items()
        for one in report.metrics
    ]
    return ["| direction | metric | result | chance |", "|---|---|---|---|", *rows]


def _page(bits: int, lines: list[str]) -> str:
    return "\n".join([f"# A hash model of {bits} bits", "", *lines]).rstrip() + "\n"
