"""A run of a method without pairs: hash models of a teacher and of a light student, from photos and sentences.

    photos ──> teacher's image tower ──> features ──┐
                                                    ├──> method.fit ──> hash layers ──> teacher-BITS
    sentences ──> teacher's text tower ──> features ┘                        │
                                                                             v
    photos, sentences ──> student's towers ──> features ───────────────> fit_student ──> student-BITS

Features are kept in the cache, and the teacher's layers and hash model in the run folder: a run that is resumed goes on
from there, and the rest takes seconds. run.py is the run of a method with pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hashcli.distillation import sentences as sentence_lists
from hashcli.distillation.callbacks import RunCallback
from hashcli.distillation.card import Evaluation, Fitted, ModelCard, make_unpaired_card, make_unpaired_student_card
from hashcli.distillation.evaluator import Reports
from hashcli.distillation.export import StudentEncoders, check_export, export_hash_model
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.feature_files import PREFIX as VECTORS
from hashcli.distillation.feature_files import VectorImageTower, VectorTextTower
from hashcli.distillation.features import Features, unit_rows
from hashcli.distillation.heads import load_layers, save_layers
from hashcli.distillation.open_towers import choose_device, open_teacher
from hashcli.distillation.run_folder import MetricRow, RunFolder, metric_rows, open_run, run_facts
from hashcli.distillation.run_plan import RunPlan
from hashcli.distillation.sentences import Sentences, choose_sentences, split_sentences
from hashcli.distillation.settings import UnpairedSettings
from hashcli.distillation.text_export import check_text_tower
from hashcli.distillation.towers import ImageTower, OpenClipTextTower, TextTower
from hashcli.distillation.trainer import HashHeads, UnpairedMethod
from hashcli.distillation.training_loop import EpochReport
from hashcli.distillation.unpaired_student import (
    NO_STUDENT,
    TEACHERS_TEXT,
    StudentTowers,
    StudentView,
    fit_student,
    make_bags,
    open_student,
)
from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import evaluate_neighbours
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.description import FILE_NAME
from hashcli.hashmodel.model import HashModel

OWN_LIST = "hashcli's own list of everyday sentences"
CHECKED = 64  # photos, and sentences, on which the exported model is compared with torch
FEWEST = 10  # photos to fit on: the mean of fewer is no place to centre by
EVERYDAY = "everyday"  # the shipped sentences' name in the cache: their features are the same for every dataset

TeacherTowers = tuple[ImageTower, TextTower]


@dataclass(frozen=True)
class UnpairedItems:
    """Photos and sentences to fit on, and others to evaluate on, with the teacher's features of unit length.

    `image` and `text` are float32 [n, width] and [m, width]: first of the photos and sentences to fit on, the first
    `fitted_photos` and the first `len(sentences.fitted)`, then of those held out. `photos` are the n files. `student`
    is what a student sees of them, if there is to be one.
    """

    photos: list[Path]
    fitted_photos: int
    sentences: Sentences
    image: Tensor
    text: Tensor
    student: StudentView | None

    @property
    def fitted(self) -> tuple[int, int]:
        return self.fitted_photos, len(self.sentences.fitted)


@dataclass(frozen=True)
class PreparedUnpairedRun:
    """A run whose items are encoded, so that it can fit hash layers at each code length."""

    plan: RunPlan
    folder: RunFolder
    teacher: TeacherTowers
    student: StudentTowers | None
    items: UnpairedItems
    callback: RunCallback

    @property
    def examples(self) -> list[str]:
        """Sentences on which what is written is compared with torch."""
        return self.items.sentences.held_out[-CHECKED:]


@dataclass(frozen=True)
class FittedModel:
    """Towers with the hash layers that were fitted, and what the layers see of all items.

    `image` is float32 [n, width] and `text` [m, width].
    """

    kind: Literal["teacher", "student"]
    encoders: StudentEncoders
    image: Tensor
    text: Tensor

    @property
    def bits(self) -> int:
        return self.encoders.heads.image.bits


def fit_hash_models(plan: RunPlan, method: UnpairedMethod[Any], callback: RunCallback) -> list[MetricRow]:
    """Fit hash layers at each code length, evaluate them, and write the teacher with them as a hash model.

    A student, if there is to be one, learns the teacher's codes and is written beside it. Returns one row for each
    metric, as in metrics.json. Photos that cannot be read are left out. Raises HashcliError if the teacher cannot
    become a hash model, if there are too few photos, or if the folder holds another run.
    """
    settings = plan.settings
    assert isinstance(settings, UnpairedSettings)
    _check_plan(plan)
    device = choose_device(settings.device)
    # In float32 wherever it runs, as the hash model will: a layer fitted on rounder features would be another's.
    teacher = open_teacher(settings.teacher, device)
    student = open_student(settings, device)
    for tower in (teacher[1], student.text if student else None):
        if isinstance(tower, OpenClipTextTower):
            check_text_tower(tower)
    keys = {"teacher": teacher[0].key} | (student.keys() if student else {})
    facts = run_facts(settings, plan.dataset, plan.split, keys, updated=None)
    if isinstance(teacher[0], VectorImageTower):
        _check_vectors(plan, teacher[0], teacher[1])
    folder = open_run(plan.out, settings, facts, plan.split.to_json(plan.dataset), resume=plan.resume)
    items = _encode(plan, settings, teacher, student, callback)
    run = PreparedUnpairedRun(plan, folder, teacher, student, items, callback)
    rows: list[MetricRow] = []
    for bits in settings.bits:
        layers = _fit_teacher(run, method, bits)
        rows += _evaluate_and_write(run, _teacher_model(run, layers))
        if student and items.student:
            rows += _evaluate_and_write(run, _student_model(run, student, items.student, layers))
    folder.save_metrics(rows)
    return rows


def evaluate_model(items: UnpairedItems, model: FittedModel) -> Reports:
    """On what was held out: sentences search for photos, and photos for sentences.

    What is to be found are the nearest items by the teacher's features.
    """
    photos, sentences = items.fitted
    image, text = items.image[photos:].numpy(), items.text[sentences:].numpy()
    with torch.no_grad():
        image_outputs = model.encoders.heads.image(model.image[photos:]).numpy()
        text_outputs = model.encoders.heads.text(model.text[sentences:]).numpy()
    return {
        "image to text": evaluate_neighbours(image_outputs, image, pack(text_outputs), text),
        "text to image": evaluate_neighbours(text_outputs, text, pack(image_outputs), image),
    }


def _fit_teacher(run: PreparedUnpairedRun, method: UnpairedMethod[Any], bits: int) -> HashHeads:
    """The teacher's hash layers; from the run folder, where an earlier start of the run has left them there."""
    saved = run.folder.checkpoints(bits) / "teacher.pt"
    if saved.exists():
        return HashHeads(*load_layers(saved))
    photos, sentences = run.items.fitted
    image, text = run.items.image[:photos].numpy(), run.items.text[:sentences].numpy()
    on_epoch = partial(_on_epoch, run.folder, run.callback, bits)
    layers = method.fit(image, text, bits, run.plan.settings, on_epoch)
    save_layers(saved, layers.image, layers.text)
    return layers


def _on_epoch(folder: RunFolder, callback: RunCallback, bits: int, epoch: EpochReport) -> None:
    callback.epoch_ended(bits, epoch)
    folder.log_epoch(bits, epoch)


def _teacher_model(run: PreparedUnpairedRun, layers: HashHeads) -> FittedModel:
    encoders = StudentEncoders(layers, *run.teacher, vocabulary=[], examples=run.examples)
    return FittedModel("teacher", encoders, run.items.image, run.items.text)


def _student_model(
    run: PreparedUnpairedRun, towers: StudentTowers, view: StudentView, layers: HashHeads
) -> FittedModel:
    """Fit the student to the teacher's layers."""
    heads = fit_student(view, layers, (run.items.image, run.items.text), run.items.fitted)
    if view.text is None:
        text_of = run.folder.model(layers.image.bits, "teacher")
        encoders = StudentEncoders(heads, towers.image, run.teacher[1], [], run.examples, text_of)
        return FittedModel("student", encoders, view.image, run.items.text)
    encoders = StudentEncoders(heads, towers.image, towers.text, view.vocabulary, run.examples)
    return FittedModel("student", encoders, view.image, view.text)


def _evaluate_and_write(run: PreparedUnpairedRun, model: FittedModel) -> list[MetricRow]:
    """Evaluate a model, write its folder, and check that what is written gives the outputs of torch."""
    reports = evaluate_model(run.items, model)
    run.callback.evaluated(model.kind, model.bits, reports)
    if isinstance(run.teacher[0], VectorImageTower) and model.kind == "teacher":  # no model, but the student's ideal
        return metric_rows(model.kind, model.bits, reports)
    folder = run.folder.model(model.bits, model.kind)
    run.callback.writing(folder)
    if run.plan.resume and model.kind == "teacher" and (folder / FILE_NAME).exists():  # the file that is written last
        written = HashModel(folder, verify=True)
    else:
        written = export_hash_model(folder, model.encoders, _card(run, model, reports))
    _check_written(run, model, written)
    return metric_rows(model.kind, model.bits, reports)


def _card(run: PreparedUnpairedRun, model: FittedModel, reports: Reports) -> ModelCard:
    plan, items = run.plan, run.items
    fitted = Fitted(
        items.fitted_photos,
        len(items.sentences.fitted),
        items.sentences.captions,
        len(items.photos) - items.fitted_photos,
        len(items.sentences.held_out),
        "the teacher's files" if isinstance(run.teacher[1], VectorTextTower) else OWN_LIST,
    )
    settings = replace(plan.settings, bits=(model.bits,))
    evaluation = Evaluation(reports, plan.dataset, plan.split)
    make = make_unpaired_card if model.kind == "teacher" else make_unpaired_student_card
    return make(f"{run.folder.name}-{model.kind}-{model.bits}", settings, evaluation, fitted)


def _check_written(run: PreparedUnpairedRun, model: FittedModel, written: HashModel) -> None:
    photos, texts = run.items.photos[-CHECKED:], run.examples
    image, text = model.image[-len(photos) :], model.text[-len(texts) :]
    few = Features(photos, torch.full((len(texts),), -1), image, text, image, text)  # the texts are of no photo
    int8_text = isinstance(model.encoders.text_tower, OpenClipTextTower)
    check_export(written, model.encoders.heads, few, texts, int8_text=int8_text)


def _check_plan(plan: RunPlan) -> None:
    settings = plan.settings
    if settings.teacher.startswith(VECTORS) and (
        settings.student == NO_STUDENT or settings.text in (TEACHERS_TEXT, settings.teacher)
    ):
        raise HashcliError(
            "Vectors in a file are no model, so all that can be made is a student with a text half of its own.",
            'Name a student, and set text to "bag" or to a hash model.',
        )
    if plan.update:
        raise HashcliError(
            f"{plan.settings.method} cannot update a model: it fits all layers anew.", "Fit a new one on all photos."
        )
    if plan.baselines:
        raise HashcliError(
            f"{plan.settings.method} has no baselines, which are codes of the teacher as its own are.",
            "Leave the baselines out.",
        )
    _check_count(plan.dataset.name, len(plan.split.train) + len(plan.split.validation), len(plan.split.query))


def _check_count(name: str, fitted: int, held_out: int) -> None:
    if fitted < FEWEST or not held_out:
        raise HashcliError(
            f"{name}: {fitted:,} photos to fit on and {held_out:,} to hold out are too few.",
            f"Give {FEWEST + 2} photos or more that can be read; a few hundred are better.",
        )


def _check_vectors(plan: RunPlan, image: VectorImageTower, text: TextTower) -> None:
    split = plan.split
    rows = np.concatenate([split.train, split.validation, split.query])
    image.look_up([str(plan.dataset.images[row]) for row in rows])
    if isinstance(text, VectorTextTower) and len(text.vectors.rows) < FEWEST:
        raise HashcliError(
            f"{plan.settings.teacher} has {len(text.vectors.rows):,} vectors of texts, which are too few to fit on.",
            f"Add those of {FEWEST} texts or more, of whatever photos; some hundred are better.",
        )


def _encode(
    plan: RunPlan,
    settings: UnpairedSettings,
    teacher: TeacherTowers,
    student: StudentTowers | None,
    callback: RunCallback,
) -> UnpairedItems:
    """Everything of the run as its towers see it."""
    dataset, split = plan.dataset, plan.split
    vectors = teacher[1] if isinstance(teacher[1], VectorTextTower) else None
    sentences = (
        split_sentences(list(vectors.vectors.rows), dataset, split) if vectors else choose_sentences(dataset, split)
    )
    texts = [*sentences.fitted, *sentences.held_out]
    rows = np.concatenate([split.train, split.validation, split.query])  # nothing is chosen on validation photos
    photos = [dataset.images[row] for row in rows]
    cache = FeatureCache(plan.cache, dataset.name, callback.advanced)

    def encode_photos(tower: ImageTower, whose: str) -> Tensor:
        callback.planned(len(photos), f"Photos, {whose}")
        return unit_rows(cache.images(tower, photos, all_readable=False))

    def encode_texts(tower: TextTower, whose: str) -> Tensor:
        if vectors:
            callback.planned(len(texts), f"Sentences, {whose}")
            return unit_rows(cache.texts(tower, texts))
        callback.planned(len(sentence_lists.everyday_sentences()) + len(_own_sentences(texts)), f"Sentences, {whose}")
        return encode_sentences(tower, texts, cache)

    image = encode_photos(teacher[0], "teacher")
    own_image = encode_photos(student.image, "student") if student else image
    readable = image.isfinite().all(dim=1) & own_image.isfinite().all(dim=1)
    if not readable.all():
        callback.left_out(int((~readable).sum()))
    fitted = int(readable[: len(rows) - len(split.query)].sum())
    _check_count(dataset.name, fitted, int(readable.sum()) - fitted)
    text = encode_texts(teacher[1], "teacher")
    view = None
    if student:
        own_text, vocabulary = None, list[str]()
        if student.text:
            own_text = encode_texts(student.text, "student")
        elif not student.shares_text:
            own_text, vocabulary = make_bags(texts, len(sentences.fitted), settings)
        view = StudentView(own_image[readable], own_text, vocabulary)
    kept = [photo for photo, can_be_read in zip(photos, readable.tolist(), strict=True) if can_be_read]
    return UnpairedItems(kept, fitted, sentences, image[readable], text, view)


def encode_sentences(tower: TextTower, texts: Sequence[str], cache: FeatureCache) -> Tensor:
    """float32 [m, width] of unit length. The everyday sentences are encoded once for all datasets and seeds."""
    everyday, own = sentence_lists.everyday_sentences(), _own_sentences(texts)
    places = {text: place for place, text in enumerate([*everyday, *own])}
    features = replace(cache, dataset=EVERYDAY).texts(tower, everyday)
    if own:
        features = np.concatenate([features, cache.texts(tower, own)])
    return unit_rows(features[[places[text] for text in texts]])


def _own_sentences(texts: Sequence[str]) -> list[str]:
    """Those that are not everyday sentences, such as captions."""
    everyday = set(sentence_lists.everyday_sentences())
    return [text for text in dict.fromkeys(texts) if text not in everyday]
