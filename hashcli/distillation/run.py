"""One run: towers, features, training at each code length, evaluation, export. run_folder.py writes its files."""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hashcli.datasets.vocabulary import texts_of
from hashcli.distillation.baselines import baseline_codes
from hashcli.distillation.callbacks import RunCallback
from hashcli.distillation.card import Evaluation, make_card
from hashcli.distillation.evaluator import Reports, SplitEvaluator
from hashcli.distillation.export import StudentEncoders, check_export, export_hash_model, export_heads
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.features import (
    Features,
    UsedItems,
    check_vectors,
    choose_vocabulary,
    distinct_words,
    encode_for_teacher,
    encode_photos,
    encode_texts,
    make_supervised_rows,
    make_training_set,
    new_words,
)
from hashcli.distillation.open_towers import Towers, choose_device, open_image_tower, open_towers
from hashcli.distillation.registry import load_method
from hashcli.distillation.run_folder import MetricRow, RunFolder, metric_rows, open_run, run_facts
from hashcli.distillation.run_plan import RunPlan
from hashcli.distillation.settings import Settings
from hashcli.distillation.student import Student, choose_anchors, load_student, save_student, with_new_words
from hashcli.distillation.towers import OUTPUTS, ExportedTower, ImageTower, OpenClipTextTower
from hashcli.distillation.trainer import HashHeads, Method, Trainer, UnpairedMethod
from hashcli.distillation.training_loop import EpochReport
from hashcli.distillation.training_set import TrainingSet
from hashcli.distillation.tuning import tunable, tune_student
from hashcli.distillation.unpaired import fit_hash_models
from hashcli.distillation.update import check_update_settings, check_update_towers, kept_bits, update_student
from hashcli.errors import HashcliError

CHECKED = 64  # photos, and texts, on which the exported model is compared with torch


@dataclass(frozen=True)
class PreparedRun:
    """A run whose items are encoded, so that it can train at each code length.

    `towers` has the student's tuned tower where it is tuned. `student` is the one to update, if any. Features, training
    set and student are on the run's device.
    """

    plan: RunPlan
    folder: RunFolder
    towers: Towers
    student: Student | None
    items: UsedItems
    vocabulary: list[str]
    features: Features
    training_set: TrainingSet


def train_hash_models(plan: RunPlan, callback: RunCallback) -> list[MetricRow]:
    """Train a hash model at each code length, evaluate it, and write it to the run folder.

    A method without pairs has a run of its own, in unpaired.py; an update is the same for all methods with pairs.

    Returns one row for each metric, as in metrics.json. Raises HashcliError if the settings, the data and the models
    do not go together, if the folder holds another run, or if a photo cannot be read.
    """
    _make_repeatable()
    method = load_method(plan.settings.method)
    if isinstance(method, UnpairedMethod):
        return fit_hash_models(plan, method, callback)
    device = choose_device(plan.settings.device)
    student = load_student(plan.update).to(device) if plan.update else None
    towers = _open_and_check_towers(plan, method, student, device)
    check_vectors(UsedItems.of_split(plan.dataset, plan.split), towers)
    folder = _open_folder(plan, towers, student)
    run = _encode(plan, folder, towers, student, callback)
    rows: list[MetricRow] = []

    def on_report(bits: int, what: str, reports: Reports) -> None:
        callback.evaluated(what, bits, reports)
        rows.extend(metric_rows(what, bits, reports))

    for bits in plan.settings.bits:
        evaluator = SplitEvaluator(plan.dataset, plan.split, run.items, run.features, partial(on_report, bits))
        if plan.baselines:
            for what, codes in baseline_codes(run.items, run.features, bits, plan.settings.seed).items():
                evaluator.on_report(what, evaluator.evaluate(codes))
        heads = _train(run, method, bits, evaluator, callback)
        evaluation = _evaluate(run, bits, evaluator, heads)
        _export(run, bits, heads, evaluation)
    folder.save_metrics(rows)
    return rows


def _make_repeatable() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or CUDA's matrix products are not repeatable
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False  # or outputs differ from those of the exported model


def _open_and_check_towers(plan: RunPlan, method: Method[Any], student: Student | None, device: torch.device) -> Towers:
    """Open the towers of a run. Whatever does not go together is refused here, before anything is computed."""
    settings = plan.settings
    if not texts_of(plan.dataset, plan.split.train):
        raise HashcliError(
            f"{settings.method} learns from photos with texts, and none of {plan.dataset.name} has a text.",
            "Give the photos texts, or choose a method that needs none: itq, rank.",
        )
    if student and plan.update:
        check_update_settings(student, settings)
        towers = open_towers(settings, device, _old_tower(plan.update, student, settings, device))
        check_update_towers(student, towers.keys())
        return towers
    towers = open_towers(settings, device)
    if settings.tune_student != "head":
        tunable(towers.student_image, "tune_student")
    if towers.knows_photos_alone and (method.needs_teacher_texts or plan.baselines):
        what = "The baselines use" if plan.baselines else f"{settings.method} uses"
        raise HashcliError(
            f"{what} the teacher's vectors of texts, and {settings.teacher} has only those of photos.",
            "Leave the baselines out." if plan.baselines else "Choose the method ckdh, or add vectors of the texts.",
        )
    method.check(settings, plan.dataset, towers.teacher_image)
    return towers


def _old_tower(model: Path, student: Student, settings: Settings, device: torch.device) -> ImageTower | None:
    """The image tower of a student to update, where its settings alone do not say which: a tuned tower, or a hash
    model's outputs, from which students of version 0.2 learned. Else None."""
    key = student.towers["student"]
    if student.is_tuned:
        return ExportedTower(model, key)
    return open_image_tower(settings.student, device) if key.startswith(OUTPUTS) else None


def _open_folder(plan: RunPlan, towers: Towers, student: Student | None) -> RunFolder:
    """Begin a run, or resume the one that the folder holds."""
    settings = plan.settings
    updated = student.digest() if student else None
    facts = run_facts(plan, towers.keys(), updated)
    return open_run(plan.out, settings, facts, plan.split.to_json(plan.dataset), resume=plan.resume)


def _encode(
    plan: RunPlan, folder: RunFolder, towers: Towers, student: Student | None, callback: RunCallback
) -> PreparedRun:
    """Encode all items, after tuning the student's tower if the settings say so."""
    settings, dataset = plan.settings, plan.dataset
    device = choose_device(settings.device)
    items = UsedItems.of_split(dataset, plan.split)
    callback.planned(2 * len(items.photos) + (2 if towers.student_text else 1) * len(items.texts))
    cache = FeatureCache(plan.cache, dataset.name, callback.advanced)
    if student:
        words = [*student.vocabulary, *new_words(dataset, plan.split, settings)]
        student = with_new_words(student, distinct_words(words, towers.student_text))
        vocabulary = student.vocabulary
    else:
        vocabulary = distinct_words(choose_vocabulary(dataset, plan.split, settings), towers.student_text)
    text = encode_texts(items, towers, vocabulary, cache)
    teacher = encode_for_teacher(items, towers, cache)
    training_rows = make_supervised_rows(items, dataset, teacher, settings)
    if settings.tune_student != "head" and not student:
        tower = tunable(towers.student_image, "tune_student")
        on_epoch = partial(_on_epoch, folder, callback, 0)
        tuned = tune_student(tower, training_rows.to(device), settings, folder.checkpoints(), on_epoch)
        towers = replace(towers, student_image=tuned)
    image = encode_photos(items, towers.student_image, cache)
    features = Features(items.photos, torch.from_numpy(items.photo_of), teacher.image, teacher.text, image, text)
    training_set = make_training_set(training_rows, items, features, towers)
    return PreparedRun(plan, folder, towers, student, items, vocabulary, features.to(device), training_set.to(device))


def _on_epoch(folder: RunFolder, callback: RunCallback, bits: int, epoch: EpochReport) -> None:
    callback.epoch_ended(bits, epoch)
    folder.log_epoch(bits, epoch)


def _train(
    run: PreparedRun, method: Method[Any], bits: int, evaluator: SplitEvaluator, callback: RunCallback
) -> HashHeads:
    """The student's heads at a code length, trained by the method; in an update, its old heads trained further."""
    settings = run.plan.settings
    on_epoch = partial(_on_epoch, run.folder, callback, bits)
    trainer = Trainer(run.training_set, settings, bits, run.folder.checkpoints(bits), on_epoch, evaluator)
    if not run.student:
        return method.train(trainer).folded()
    evaluator.report("before the update", run.student.heads.encode)
    heads = update_student(trainer, run.student)
    callback.bits_kept(bits, *kept_bits(run.student, heads))
    return heads


def _evaluate(run: PreparedRun, bits: int, evaluator: SplitEvaluator, heads: HashHeads) -> Evaluation:
    """Evaluate the student on the query set, and keep its codes."""
    plan = run.plan
    evaluator.report_validation("validation", heads.encode)
    codes = evaluator.codes(heads.encode)
    reports = evaluator.evaluate(codes)
    evaluator.on_report(plan.settings.method, reports)
    run.folder.save_codes(bits, codes, plan.dataset, plan.split)
    return Evaluation(reports, plan.dataset, plan.split)


def _export(run: PreparedRun, bits: int, heads: HashHeads, evaluation: Evaluation) -> None:
    """Write the hash-model folder, and check that it gives the trained outputs. Of a student on vectors in files, only
    the heads can be written.
    """
    if run.towers.student_is_vectors:
        export_heads(run.folder.heads(bits), heads, run.vocabulary)
        return
    settings = replace(run.plan.settings, bits=(bits,))
    few = run.features.part(torch.arange(min(CHECKED, len(run.items.photos))))
    texts = run.items.texts[: min(CHECKED, len(few.text))]
    encoders = StudentEncoders(heads, run.towers.student_image, run.towers.student_text, run.vocabulary, texts)
    card = make_card(f"{run.folder.name}-{bits}", settings, evaluation)
    model = export_hash_model(run.folder.model(bits), encoders, card)
    student = Student(
        settings,
        run.towers.keys(),
        run.vocabulary,
        run.plan.dataset.label_names,
        heads,
        choose_anchors(run.training_set, heads, settings, run.student),
        len(run.training_set) + (run.student.learned if run.student else 0),
    )
    save_student(model.folder, student)
    check_export(model, heads, few, texts, int8_text=isinstance(run.towers.student_text, OpenClipTextTower))
