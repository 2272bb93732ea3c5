"""One run of `hashcli distill`: data, features, training at each bit length, measurement, export.

The run folder holds `run.json` (all that decides the run), `checkpoints/`, `log.jsonl` (every epoch), `metrics.json`,
`codes-BITS.npz` (packed codes, labels and split: every figure can be computed again from it), and a hash-model folder
for each bit length.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import hashcli
from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.datasets.vocabulary import bag_of_words, build_vocabulary, read_vocabulary, texts_of
from hashcli.distillation import baselines, ckdh, lcdh, soda
from hashcli.distillation.config import Config
from hashcli.distillation.export import check, export
from hashcli.distillation.material import Features, Hashers, Job, Material
from hashcli.distillation.measuring import Reports, SplitMeasure
from hashcli.distillation.student import Student, choose_anchors, kept_bits, save_student, update
from hashcli.distillation.towers import (
    HashModelTower,
    ImageTower,
    Precision,
    TextTower,
    image_features,
    open_image_tower,
    open_teacher,
    text_features,
)
from hashcli.distillation.training import Epoch
from hashcli.distillation.tuning import tunable, tune
from hashcli.errors import HashcliError
from hashcli.evaluation.retrieval import DatasetCodes, evaluate_codes
from hashcli.hashmodel.description import ReportedMetric
from hashcli.hashmodel.model import HashModel

CHECKED = 64  # items encoded by the exported model and by torch
# Settings that an update cannot change: they made the model's heads, or what these are fed.
ITS_OWN = ("method", "bits", "hidden", "dropout", "words", "vocabulary", "tune_teacher", "tune_student")
DISTILL = {"soda": soda.distill, "ckdh": ckdh.distill, "lcdh": lcdh.distill}


class Teller(Protocol):
    """Told how a run goes on."""

    def planned(self, count: int) -> None: ...
    def advanced(self, count: int) -> None: ...
    def epoch(self, bits: int, epoch: Epoch) -> None: ...
    def measured(self, what: str, bits: int, reports: Reports) -> None: ...
    def kept(self, bits: int, image: float, text: float) -> None: ...


@dataclass(frozen=True)
class _Towers:
    """Who sees the photos and texts. `student_text` None: a bag of words."""

    teacher_image: ImageTower
    teacher_text: TextTower
    student_image: ImageTower
    student_text: HashModelTower | None

    def keys(self) -> dict[str, str]:
        student_text = self.student_text.key if self.student_text else "bag"
        return {"teacher": self.teacher_image.key, "student": self.student_image.key, "student's text": student_text}


@dataclass(frozen=True)
class _Data:
    """All photos used, their texts, and what the towers see of them.

    `rows` [n] are the photos' rows in the dataset, in ascending order, and `trained` [m] the places of the texts that
    are trained on.
    """

    rows: np.ndarray
    trained: np.ndarray
    features: Features
    vocabulary: list[str]


def run(
    pairs: ImageTextDataset,
    split: Split,
    config: Config,
    out: Path,
    cache: Path,
    teller: Teller,
    *,
    resume: bool,
    baseline: bool,
    updated: Student | None = None,
) -> list[dict[str, Any]]:
    """Do it all; returns one row for each figure. Raises HashcliError when `out` holds another run.

    With `updated`, that student learns the new data in place of a new one.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's products are not repeatable
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False  # nor are they those of the exported model
    device = _device(config)
    if updated:
        _check_its_own(updated.config, config)
    towers = _open_towers(config, device)
    for what, key in updated.towers.items() if updated else ():
        if towers.keys()[what] != key:
            raise HashcliError(
                f"The model to update knows the {what} {key}, and this one is {towers.keys()[what]}.",
                "Train it anew: what it learned of another's features is of no use.",
            )
    _begin(out, pairs, split, config, towers, updated, resume=resume)
    data, material = _prepared(pairs, split, config, towers, out, cache, teller, updated)
    features, material = data.features.to(device), material.to(device)
    updated = updated and updated.to(device)

    rows: list[dict[str, Any]] = []
    tell_epoch = _logger(out, teller)
    for bits in config.bits:

        def measured(what: str, reports: Reports, bits: int = bits) -> None:
            teller.measured(what, bits, reports)
            for direction, report in reports.items():
                rows.extend({"of": what, "bits": bits, "direction": direction, **asdict(one)} for one in report.metrics)

        measure = SplitMeasure(
            pairs, split, features, data.rows, data.rows[data.features.photo_of.numpy()[data.trained]], measured
        )
        if baseline:
            for what, untrained in _baselines(data, bits, config.seed).items():
                measured(what, evaluate_codes(untrained, pairs.labels, split.query, split.database))
        checkpoints = out / "checkpoints" / str(bits)
        checkpoints.mkdir(parents=True, exist_ok=True)
        job = Job(material, config, bits, checkpoints, partial(tell_epoch, bits), measure)
        hashers = update(job, updated) if updated else DISTILL[config.method](job)
        measure.report_validation("validation", hashers.encode, None)
        codes = measure.codes(hashers.encode)
        reports = evaluate_codes(codes, pairs.labels, split.query, split.database)
        measured(config.method, reports)
        _save_codes(out / f"codes-{bits}.npz", codes, pairs, split)
        if updated:
            teller.kept(bits, *kept_bits(updated, hashers))
        model = export(
            out / f"model-{bits}",
            hashers,
            towers.student_image,
            towers.student_text,
            data.vocabulary,
            name=f"{out.resolve().name}-{bits}",
            method=f"{config.method}, our reconstruction",
            teacher=config.teacher,
            metrics=_metrics(reports, pairs, split),
            card=_card(config, bits, reports, pairs, split),
        )
        student = Student(
            replace(config, bits=(bits,)),
            towers.keys(),
            data.vocabulary,
            pairs.label_names,
            hashers,
            choose_anchors(material, hashers, config.anchors, config.seed, updated),
            len(material) + (updated.learned if updated else 0),
        )
        save_student(model.folder, student)
        _check_export(model, hashers, data, pairs)
    (out / "metrics.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return rows


def _check_its_own(model: Config, asked: Config) -> None:
    for name in ITS_OWN:
        if getattr(model, name) != getattr(asked, name):
            raise HashcliError(
                f"The model to update has {name} {_shown(getattr(model, name))}, which "
                f"{_shown(getattr(asked, name))} cannot replace.",
                f"Leave {name} away: an update goes on with the model's own.",
            )


def _shown(value: Any) -> str:
    """A setting's value, as it would be set."""
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _device(config: Config) -> torch.device:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise HashcliError("There is no CUDA device that torch can use.", 'device = "auto" or "cpu" will do without.')
    return torch.device("cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu")


def _open_towers(config: Config, device: torch.device) -> _Towers:
    precision: Precision = "float32"
    if config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda"):
        precision = "bfloat16"
    image, text = open_teacher(config.teacher, device, precision)
    if config.tune_teacher != "head":
        tunable(image, "tune_teacher")
        if config.method != "ckdh":
            raise HashcliError(
                "tune_teacher: only CKDH fine-tunes its teacher.", "tune_student tunes any student's tower."
            )
    # The student computes in float32, as the hash model will.
    same = config.student == config.teacher and precision == "float32"
    untuned = config.tune_student == config.tune_teacher == "head"
    student = image if same and untuned else open_image_tower(config.student, device)
    if config.tune_student != "head":
        tunable(student, "tune_student")
    return _Towers(image, text, student, None if config.text == "bag" else HashModelTower(config.text))


def _begin(
    out: Path,
    pairs: ImageTextDataset,
    split: Split,
    config: Config,
    towers: _Towers,
    updated: Student | None,
    *,
    resume: bool,
) -> None:
    """Write run.json and split.json, or with `resume` see that they say the same."""
    told = {
        "config": config.to_json(),
        "dataset": pairs.name,
        "protocol": split.protocol,
        "split": split.checksum,
        "sizes": {part: len(getattr(split, part)) for part in ("query", "database", "train", "validation")},
        "warnings": split.warnings,
        "data": _data_checksum(pairs),
        "towers": towers.keys(),
        "updated": updated and updated.digest(),
        "versions": {
            "hashcli": hashcli.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("torch", "numpy", "onnxruntime")},
        },
    }
    path = out / "run.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if not resume:
            raise HashcliError(f"{out} holds a run already.", "Go on with it by --resume, or choose another --out.")
        now = json.loads(json.dumps(told))
        other = [
            f"{name} {_shown(before['config'].get(name))}, not {_shown(value)}"
            for name, value in now["config"].items()
            if before["config"].get(name) != value
        ]
        for key, what in (
            ("config", f"other settings ({'; '.join(other)})"),
            ("split", "another split"),
            ("data", "other data"),
            ("towers", "other teachers or students of these names"),
            ("updated", "another model to update"),
        ):
            if before.get(key) != now[key]:
                raise HashcliError(f"{out} holds a run with {what}.", "Choose another --out.")
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / "split.json").write_text(split.to_json(pairs), encoding="utf-8")
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _logger(out: Path, teller: Teller) -> Callable[[int, Epoch], None]:
    """Tells of an epoch, and keeps it in log.jsonl, once: a run killed before its checkpoint repeats its last epoch."""
    path = out / "log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    if lines and not lines[-1].endswith("\n"):  # cut off by a kill
        path.write_text("".join(lines[:-1]), encoding="utf-8")
        lines.pop()
    known = {(told["bits"], told["stage"], told["number"]) for told in map(json.loads, lines)}

    def tell(bits: int, epoch: Epoch) -> None:
        teller.epoch(bits, epoch)
        if (bits, epoch.stage, epoch.number) not in known:
            with path.open("a", encoding="utf-8") as log:
                log.write(json.dumps({"bits": bits, **asdict(epoch)}) + "\n")

    return tell


def _prepared(
    pairs: ImageTextDataset,
    split: Split,
    config: Config,
    towers: _Towers,
    out: Path,
    cache: Path,
    teller: Teller,
    updated: Student | None,
) -> tuple[_Data, Material]:
    """What the towers see, and of it what is trained on; the student's tower is tuned first where that is asked for."""
    rows = np.unique(np.concatenate([split.query, split.database, split.train, split.validation]))
    photos = [pairs.images[row] for row in rows]
    texts = [text for row in rows for text in pairs.texts[row]]
    photo_of = np.arange(len(rows)).repeat([len(pairs.texts[row]) for row in rows])
    trained = np.flatnonzero(np.isin(rows[photo_of], split.train))
    teller.planned(2 * len(photos) + (2 if towers.student_text else 1) * len(texts))

    def images(tower: ImageTower) -> Tensor:
        return _unit(image_features(tower, photos, pairs.name, cache, teller.advanced))

    def words(tower: TextTower) -> Tensor:
        return _unit(text_features(tower, texts, pairs.name, cache, teller.advanced))

    vocabulary: list[str] = []
    if towers.student_text:
        text = words(towers.student_text)
    else:
        if updated:
            vocabulary = updated.vocabulary
        elif config.vocabulary:
            vocabulary = read_vocabulary(Path(config.vocabulary))
        else:
            vocabulary = build_vocabulary(texts_of(pairs, split.train), config.words)
        text = torch.from_numpy(bag_of_words(texts, vocabulary)).float()
    teacher_image, teacher_text = images(towers.teacher_image), words(towers.teacher_text)

    def prompts(sentences: list[str]) -> Tensor:
        different = sorted(set(sentences))  # few label sets are different
        encoded = functional.normalize(torch.from_numpy(towers.teacher_text.encode_texts(different)))
        return encoded[[different.index(sentence) for sentence in sentences]]

    trained_photos = np.unique(photo_of[trained])
    material = Material(
        photos=[photos[place] for place in trained_photos],
        photo=torch.from_numpy(np.searchsorted(trained_photos, photo_of[trained])),
        teacher_image=teacher_image[photo_of[trained]],
        teacher_text=teacher_text[trained],
        image=torch.empty(len(trained), 0),
        text=text[trained],
        labels=None if pairs.labels is None else torch.from_numpy(pairs.labels[rows[photo_of[trained]]]).float(),
        label_names=pairs.label_names,
        neighbours=config.neighbours,
        prompts=prompts,
        teacher_tower=None if config.tune_teacher == "head" else tunable(towers.teacher_image, "tune_teacher"),
    )
    if config.tune_student != "head":
        _tune_student(material, config, towers, out, teller)
    image = images(towers.student_image)
    material = replace(material, image=image[photo_of[trained]])
    features = Features(photos, torch.from_numpy(photo_of), teacher_image, teacher_text, image, text)
    return _Data(rows, trained, features, vocabulary), material


def _tune_student(material: Material, config: Config, towers: _Towers, out: Path, teller: Teller) -> None:
    """Each photo counts once, with its first text."""
    _, first = np.unique(material.photo.numpy(), return_index=True)
    some = material.to(_device(config))
    texts = some.teacher_text[first]
    log = _logger(out, teller)

    def similarity(photos: Tensor) -> Tensor:
        return some.similarity(torch.from_numpy(first)[photos])

    checkpoints = out / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    tower = tunable(towers.student_image, "tune_student")
    tune(tower, material.photos, texts, similarity, config, checkpoints, lambda epoch: log(0, epoch))


def _unit(features: np.ndarray) -> Tensor:
    """A copy in memory, each row of unit length."""
    return functional.normalize(torch.from_numpy(np.array(features)))


def _baselines(data: _Data, bits: int, seed: int) -> dict[str, DatasetCodes]:
    """Codes from the teacher's features alone, each modality centred by its training mean."""
    photo_of = data.features.photo_of.numpy()
    photos = np.unique(photo_of[data.trained])
    image, text = data.features.teacher_image, data.features.teacher_text
    image, text = (image - image[photos].mean(dim=0)).numpy(), (text - text[data.trained].mean(dim=0)).numpy()
    training = np.concatenate([image[photos], text[data.trained]])
    made = {
        "sign of the teacher's principal directions": baselines.principal_signs(training, image, text, bits),
        "ITQ of the teacher": baselines.itq(training, image, text, bits, seed),
    }
    return {
        what: DatasetCodes(data.rows, data.rows[photo_of], {"image": image_codes, "text": text_codes})
        for what, (image_codes, text_codes) in made.items()
    }


def _save_codes(path: Path, codes: DatasetCodes, pairs: ImageTextDataset, split: Split) -> None:
    arrays = {
        "rows": codes.rows,
        "photos": codes.packed["image"],
        "texts": codes.packed["text"],
        "text_rows": codes.text_rows,
        "query": split.query,
        "database": split.database,
    }
    if pairs.labels is not None:
        arrays["labels"] = pairs.labels
    np.savez(path, allow_pickle=False, **arrays)


def _check_export(model: HashModel, hashers: Hashers, data: _Data, pairs: ImageTextDataset) -> None:
    """Encode a few items from their files by the exported folder, and compare with what torch gives."""
    device = next(hashers.image.parameters()).device
    few = data.features.part(torch.arange(min(CHECKED, len(data.rows)))).to(device)
    with torch.no_grad():
        trained = {kind: outputs.cpu().numpy() for kind, outputs in hashers.encode(few).items()}
    exported = [output for _, output in model.encode_image_files(map(str, few.photos))]
    check(np.stack([output for output in exported if isinstance(output, np.ndarray)]), trained["image"], "image")
    texts = texts_of(pairs, data.rows[:CHECKED])[:CHECKED]
    check(model.encode_texts(texts), trained["text"][: len(texts)], "text")


def _metrics(reports: Reports, pairs: ImageTextDataset, split: Split) -> list[ReportedMetric]:
    dataset = f"{pairs.name}, {split.protocol}, seed {split.seed}, ties by row"
    return [
        ReportedMetric(f"{direction} {figure.name}", dataset, round(figure.value, 4), round(figure.chance, 4))
        for direction, report in reports.items()
        for figure in report.metrics
    ]


def _card(config: Config, bits: int, reports: Reports, pairs: ImageTextDataset, split: Split) -> str:
    lines = [
        f"# A hash model of {bits} bits",
        "",
        f"Made by hashcli {hashcli.__version__} with {config.method}, a reconstruction and not the authors' code, from "
        f"the teacher {config.teacher} and the student {config.student}, on {pairs.name} ({split.protocol}, split "
        f"{split.checksum}, seed {split.seed}). run.json beside this folder has every setting.",
        "",
        "| direction | metric | result | chance |",
        "|---|---|---|---|",
    ]
    for direction, report in reports.items():
        lines += [f"| {direction} | {one.name} | {one.value:.4f} | {one.chance:.4f} |" for one in report.metrics]
    lines += ["", *(f"Warning: {warning}." for warning in split.warnings)]
    return "\n".join(lines).rstrip() + "\n"


def _data_checksum(pairs: ImageTextDataset) -> str:
    """16 hex digits over the ids, texts and labels, and the photos' sizes."""
    digest = hashlib.sha256()
    for row, identity in enumerate(pairs.ids):
        size = pairs.images[row].stat().st_size
        digest.update(json.dumps([identity, pairs.texts[row], size]).encode())
    if pairs.labels is not None:
        digest.update(pairs.labels.tobytes())
    return digest.hexdigest()[:16]
