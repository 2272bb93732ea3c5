"""A run of a method without pairs: hash layers on the teacher's own towers, from photos and sentences of any origin.

    photos ──> teacher's image tower ──> features ──┐
                                                    ├──> method.fit ──> hash layers ──> teacher-BITS
    sentences ──> teacher's text tower ──> features ┘

There is no student, and there are no checkpoints: fitting takes a minute. run.py is the run of a method with pairs.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hashcli.distillation.callbacks import RunCallback
from hashcli.distillation.card import Evaluation, Fitted, make_unpaired_card
from hashcli.distillation.evaluator import Reports
from hashcli.distillation.export import StudentEncoders, check_export, export_hash_model
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.feature_files import PREFIX as VECTORS
from hashcli.distillation.features import Features, unit_rows
from hashcli.distillation.open_towers import choose_device, open_teacher
from hashcli.distillation.run_folder import MetricRow, RunFolder, metric_rows, open_run, run_facts
from hashcli.distillation.run_plan import RunPlan
from hashcli.distillation.sentences import Sentences, choose_sentences
from hashcli.distillation.text_export import check_text_tower
from hashcli.distillation.towers import ImageTower, OpenClipTextTower, TextTower
from hashcli.distillation.trainer import HashHeads, UnpairedMethod
from hashcli.distillation.training_loop import EpochReport
from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import evaluate_neighbours
from hashcli.hashmodel.codes import pack

CHECKED = 64  # photos, and sentences, on which the exported model is compared with torch
FEWEST = 10  # photos to fit on: the mean of fewer is no place to centre by


@dataclass(frozen=True)
class UnpairedItems:
    """Photos and sentences to fit on, and others to evaluate on, with the teacher's features of unit length.

    `image` and `text` are float32 [n, width] and [m, width]: first of the photos and sentences to fit on, the first
    `fitted_photos` and the first `len(sentences.fitted)`, then of those held out. `photos` are the n files.
    """

    photos: list[Path]
    fitted_photos: int
    sentences: Sentences
    image: np.ndarray
    text: np.ndarray


def fit_hash_models(plan: RunPlan, method: UnpairedMethod[Any], callback: RunCallback) -> list[MetricRow]:
    """Fit hash layers at each code length, evaluate them, and write the teacher with them as a hash model.

    Returns one row for each metric, as in metrics.json. Photos that cannot be read are left out. Raises HashcliError if
    the teacher cannot become a hash model, if there are too few photos, or if the folder holds another run.
    """
    settings = plan.settings
    _check_plan(plan)
    # In float32 wherever it runs, as the hash model will: a layer fitted on rounder features would be another's.
    towers = open_teacher(settings.teacher, choose_device(settings.device))
    if isinstance(towers[1], OpenClipTextTower):
        check_text_tower(towers[1])
    facts = run_facts(settings, plan.dataset, plan.split, {"teacher": towers[0].key}, updated=None)
    folder = open_run(plan.out, settings, facts, plan.split.to_json(plan.dataset), resume=plan.resume)
    items = _encode(plan, towers, callback)
    rows: list[MetricRow] = []
    for bits in settings.bits:
        count = items.fitted_photos, len(items.sentences.fitted)
        on_epoch = partial(_on_epoch, folder, callback, bits)
        layers = method.fit(items.image[: count[0]], items.text[: count[1]], bits, settings, on_epoch)
        reports = evaluate_layers(items, layers)
        callback.evaluated(settings.method, bits, reports)
        rows += metric_rows(settings.method, bits, reports)
        _export(
            plan, folder.model(bits, method.kind), layers, towers, items, Evaluation(reports, plan.dataset, plan.split)
        )
    folder.save_metrics(rows)
    return rows


def evaluate_layers(items: UnpairedItems, layers: HashHeads) -> Reports:
    """On what was held out: sentences search for photos, and photos for sentences."""
    image, text = items.image[items.fitted_photos :], items.text[len(items.sentences.fitted) :]
    with torch.no_grad():
        image_outputs = layers.image(torch.from_numpy(image)).numpy()
        text_outputs = layers.text(torch.from_numpy(text)).numpy()
    return {
        "image to text": evaluate_neighbours(image_outputs, image, pack(text_outputs), text),
        "text to image": evaluate_neighbours(text_outputs, text, pack(image_outputs), image),
    }


def _on_epoch(folder: RunFolder, callback: RunCallback, bits: int, epoch: EpochReport) -> None:
    callback.epoch_ended(bits, epoch)
    folder.log_epoch(bits, epoch)


def _check_plan(plan: RunPlan) -> None:
    if plan.settings.teacher.startswith(VECTORS):
        raise HashcliError(
            f"{plan.settings.method} makes a hash model of the teacher itself, and vectors in a file are no model.",
            "Name a model as the teacher, or choose the method ckdh.",
        )
    if plan.update:
        raise HashcliError(
            f"{plan.settings.method} cannot update a model: it trains no student.", "Fit a new one on all photos."
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


def _encode(plan: RunPlan, towers: tuple[ImageTower, TextTower], callback: RunCallback) -> UnpairedItems:
    dataset, split = plan.dataset, plan.split
    fitted = np.concatenate([split.train, split.validation])  # nothing is chosen on validation photos
    photos = [dataset.images[row] for row in [*fitted, *split.query]]
    sentences = choose_sentences(dataset, split)
    callback.planned(len(photos) + len(sentences.fitted) + len(sentences.held_out))
    cache = FeatureCache(plan.cache, dataset.name, callback.advanced)
    image = unit_rows(cache.images(towers[0], photos, all_readable=False)).numpy()
    readable = ~np.isnan(image).any(axis=1)
    count = int(readable[: len(fitted)].sum())
    if not readable.all():
        callback.left_out(int((~readable).sum()))
    _check_count(dataset.name, count, int(readable.sum()) - count)
    return UnpairedItems(
        [photo for photo, can_be_read in zip(photos, readable, strict=True) if can_be_read],
        count,
        sentences,
        image[readable],
        unit_rows(cache.texts(towers[1], [*sentences.fitted, *sentences.held_out])).numpy(),
    )


def _export(
    plan: RunPlan,
    folder: Path,
    layers: HashHeads,
    towers: tuple[ImageTower, TextTower],
    items: UnpairedItems,
    evaluation: Evaluation,
) -> None:
    """Write the hash-model folder, and check that it gives the outputs of torch."""
    photos, texts = items.photos[-CHECKED:], items.sentences.held_out[-CHECKED:]
    image, text = torch.from_numpy(items.image[-len(photos) :]), torch.from_numpy(items.text[-len(texts) :])
    fitted = Fitted(
        items.fitted_photos,
        len(items.sentences.fitted),
        items.sentences.captions,
        len(items.photos) - items.fitted_photos,
        len(items.sentences.held_out),
    )
    settings = replace(plan.settings, bits=(layers.image.bits,))
    card = make_unpaired_card(f"{plan.out.resolve().name}-{folder.name}", settings, evaluation, fitted)
    encoders = StudentEncoders(layers, *towers, vocabulary=[], examples=texts)
    model = export_hash_model(folder, encoders, card)
    of_no_photo = torch.full((len(texts),), -1)
    few = Features(photos, of_no_photo, image, text, image, text)
    check_export(model, layers, few, texts, int8_text=isinstance(towers[1], OpenClipTextTower))
