"""One run of `hashcli distill`: data, features, training at each bit length, measurement, export.

The run folder holds `run.json` (all that decides the run), `checkpoints/`, `log.jsonl` (every epoch), `metrics.json`,
`codes-BITS.npz` (packed codes, labels and split: every figure can be computed again from it), and a hash-model folder
for each bit length.
"""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import hashcli
from hashcli.datasets.pairs import Pairs
from hashcli.datasets.splits import Split
from hashcli.datasets.vocabulary import bag_of_words, build_vocabulary, texts_of
from hashcli.distillation import baselines, ckdh, lcdh, soda
from hashcli.distillation.config import Config
from hashcli.distillation.export import check, export
from hashcli.distillation.losses import label_similarity, teacher_similarity
from hashcli.distillation.material import Hashers, Job, Material
from hashcli.distillation.student import Student, choose_anchors, kept_bits, save_student, update
from hashcli.distillation.towers import (
    HashModelTower,
    ImageTower,
    TextTower,
    image_features,
    open_image_tower,
    open_teacher,
    text_features,
)
from hashcli.distillation.training import Epoch
from hashcli.distillation.tuning import tune
from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import Report
from hashcli.evaluation.retrieval import Codes, compare
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.description import Metric
from hashcli.hashmodel.model import HashModel

CHECKED = 64  # items encoded by the exported model and by torch


class Teller(Protocol):
    """Told how a run goes on."""

    def planned(self, count: int) -> None: ...
    def advanced(self, count: int) -> None: ...
    def epoch(self, bits: int, epoch: Epoch) -> None: ...
    def measured(self, what: str, bits: int, reports: dict[str, Report]) -> None: ...
    def kept(self, bits: int, image: float, text: float) -> None: ...


@dataclass(frozen=True)
class _Features:
    """What the towers see of all n photos used and their t texts.

    `rows` [n] are the photos' rows in the dataset, in ascending order; `photo_of` [t] is each text's photo, as a place
    in `rows`. Teacher features are of unit length, and so are the student's unless its text is a bag of words.
    """

    rows: np.ndarray
    photo_of: np.ndarray
    teacher_image: Tensor
    teacher_text: Tensor
    image: Tensor
    text: Tensor
    vocabulary: list[str]

    def texts_of(self, part: np.ndarray) -> np.ndarray:
        """The places of all texts of some rows."""
        return np.flatnonzero(np.isin(self.rows[self.photo_of], part))


def run(
    pairs: Pairs,
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
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    teacher_image, teacher_text = open_teacher(config.teacher, device)
    student_image = teacher_image if config.student == config.teacher else open_image_tower(config.student, device)
    student_text = None if config.text == "bag" else HashModelTower(config.text)
    _begin(out, pairs, split, config, resume=resume)
    (out / "checkpoints").mkdir(exist_ok=True)
    teacher_image, student_image = _tuned(
        pairs, split, config, teacher_image, teacher_text, student_image, out, cache, teller
    )
    vocabulary = updated.vocabulary if updated else None
    features = _features(
        pairs, split, config, teacher_image, teacher_text, student_image, student_text, vocabulary, cache, teller
    )
    places = features.texts_of(split.train)  # [m], the texts that are trained on
    material = _material(pairs, features, places, teacher_text).to(torch.device(device))
    updated = updated and updated.to(torch.device(device))

    rows: list[dict[str, Any]] = []

    def measured(what: str, bits: int, reports: dict[str, Report]) -> None:
        teller.measured(what, bits, reports)
        for direction, report in reports.items():
            rows.extend({"of": what, "bits": bits, "direction": direction, **asdict(one)} for one in report.figures)

    for bits in config.bits:
        if baseline:
            for what, codes in _baselines(features, places, bits, config.seed).items():
                measured(what, bits, compare(codes, pairs.labels, split.query, split.database))

        def validate(what: str, hashers: Hashers, trained_on: np.ndarray, bits: int = bits) -> None:
            """Held-out training pairs as queries, against what was trained on, or among themselves without labels."""
            if len(split.validation):
                database = split.validation if pairs.labels is None else trained_on
                codes = _codes(hashers, features)
                measured(what, bits, compare(codes, pairs.labels, split.validation, database))

        def round_done(number: int, hashers: Hashers, seen: Tensor) -> None:
            validate(f"validation, round {number}", hashers, np.unique(features.rows[features.photo_of[places[seen]]]))

        checkpoints = out / "checkpoints" / str(bits)
        checkpoints.mkdir(parents=True, exist_ok=True)
        job = Job(material, config, bits, checkpoints, _logger(out, bits, teller))
        if updated:
            hashers = update(job, updated)
        elif config.method == "lcdh":
            hashers = lcdh.distill(job, round_done)
        else:
            hashers = {"soda": soda.distill, "ckdh": ckdh.distill}[config.method](job)
        validate("validation", hashers, split.train)
        codes = _codes(hashers, features)
        reports = compare(codes, pairs.labels, split.query, split.database)
        measured(config.method, bits, reports)
        _save_codes(out / f"codes-{bits}.npz", codes, pairs, split)
        anchors = choose_anchors(material, hashers, config.anchors, config.seed)
        if updated:
            teller.kept(bits, *kept_bits(updated, hashers))
        model = export(
            out / f"model-{bits}",
            hashers,
            student_image,
            student_text,
            features.vocabulary,
            name=f"{out.name}-{bits}",
            method=f"{config.method}, our reconstruction",
            teacher=config.teacher,
            metrics=_metrics(reports, pairs, split),
            card=_card(config, bits, reports, pairs, split),
        )
        one_length = replace(config, bits=(bits,))
        save_student(model.folder, Student(one_length, features.vocabulary, pairs.label_names, hashers, anchors))
        _check_export(model, hashers, features, pairs)
    (out / "metrics.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return rows


def _begin(out: Path, pairs: Pairs, split: Split, config: Config, *, resume: bool) -> None:
    """Write run.json and split.json, or with `resume` see that they say the same."""
    told = {
        "config": config.to_json(),
        "dataset": pairs.name,
        "protocol": split.protocol,
        "split": split.checksum,
        "sizes": {part: len(getattr(split, part)) for part in ("query", "database", "train", "validation")},
        "warnings": split.warnings,
        "data": _data_checksum(pairs),
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
        for key in ("config", "split", "data"):
            if before[key] != json.loads(json.dumps(told[key])):
                raise HashcliError(f"{out} holds a run with another {key}.", "Choose another --out.")
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / "split.json").write_text(split.to_json(pairs), encoding="utf-8")
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _logger(out: Path, bits: int, teller: Teller) -> Callable[[Epoch], None]:
    """Tells of an epoch, and keeps it in log.jsonl."""

    def tell(epoch: Epoch) -> None:
        teller.epoch(bits, epoch)
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"bits": bits, **asdict(epoch)}) + "\n")

    return tell


def _tuned(
    pairs: Pairs,
    split: Split,
    config: Config,
    teacher_image: ImageTower,
    teacher_text: TextTower,
    student_image: ImageTower,
    out: Path,
    cache: Path,
    teller: Teller,
) -> tuple[ImageTower, ImageTower]:
    """The image towers of teacher and student, fine-tuned on the training photos where the settings ask for it."""
    if config.tune_teacher == config.tune_student == "head":
        return teacher_image, student_image
    photos = [pairs.images[row] for row in split.train]
    texts = _unit(
        text_features(teacher_text, [pairs.texts[row][0] for row in split.train], pairs.name, cache, _nothing)
    )
    if pairs.labels is not None:
        labels = torch.from_numpy(pairs.labels[split.train]).float()

        def similarity(rows: Tensor) -> Tensor:
            return label_similarity(labels[rows])
    else:
        images = _unit(image_features(teacher_image, photos, pairs.name, cache, _nothing))

        def similarity(rows: Tensor) -> Tensor:
            return teacher_similarity(images[rows], texts[rows], config.neighbours)

    def tuned(name: str, tower: ImageTower, share: str) -> ImageTower:
        if share == "head":
            return tower
        checkpoints, tell = out / "checkpoints", _logger(out, 0, teller)
        return tune(name, tower, share, photos, texts, similarity, config, checkpoints, tell)

    same = student_image is teacher_image
    teacher_image = tuned("teacher", teacher_image, config.tune_teacher)
    return teacher_image, teacher_image if same else tuned("student", student_image, config.tune_student)


def _nothing(count: int) -> None:
    """Progress that is not told."""


def _unit(features: np.ndarray) -> Tensor:
    """A copy in memory, each row of unit length."""
    return functional.normalize(torch.from_numpy(np.array(features)))


def _features(
    pairs: Pairs,
    split: Split,
    config: Config,
    teacher_image: ImageTower,
    teacher_text: TextTower,
    student_image: ImageTower,
    student_text: TextTower | None,
    vocabulary: list[str] | None,
    cache: Path,
    teller: Teller,
) -> _Features:
    rows = np.unique(np.concatenate([split.query, split.database, split.train, split.validation]))
    photos = [pairs.images[row] for row in rows]
    texts = [text for row in rows for text in pairs.texts[row]]
    photo_of = np.arange(len(rows)).repeat([len(pairs.texts[row]) for row in rows])
    teller.planned(2 * len(photos) + 2 * len(texts))

    def images(tower: ImageTower) -> Tensor:
        return _unit(image_features(tower, photos, pairs.name, cache, teller.advanced))

    def words(tower: TextTower) -> Tensor:
        return _unit(text_features(tower, texts, pairs.name, cache, teller.advanced))

    if student_text is None:
        if vocabulary is None:
            vocabulary = build_vocabulary(texts_of(pairs, split.train), config.words)
        text = torch.from_numpy(bag_of_words(texts, vocabulary)).float()
    else:
        text = words(student_text)
    return _Features(
        rows, photo_of, images(teacher_image), words(teacher_text), images(student_image), text, vocabulary or []
    )


def _material(pairs: Pairs, features: _Features, places: np.ndarray, teacher_text: TextTower) -> Material:
    """The training rows: every text of every training photo."""
    photo = features.photo_of[places]

    def prompts(sentences: list[str]) -> Tensor:
        different = sorted(set(sentences))  # few label sets are different
        encoded = functional.normalize(torch.from_numpy(teacher_text.encode_texts(different)))
        return encoded[[different.index(sentence) for sentence in sentences]]

    return Material(
        teacher_image=features.teacher_image[photo],
        teacher_text=features.teacher_text[places],
        image=features.image[photo],
        text=features.text[places],
        labels=None if pairs.labels is None else torch.from_numpy(pairs.labels[features.rows[photo]]).float(),
        label_names=pairs.label_names,
        prompts=prompts,
    )


def _outputs(hashers: Hashers, features: _Features) -> tuple[np.ndarray, np.ndarray]:
    device = next(hashers.image.parameters()).device
    with torch.inference_mode():
        image, text = hashers.image(features.image.to(device)), hashers.text(features.text.to(device))
    return image.cpu().numpy(), text.cpu().numpy()


def _codes(hashers: Hashers, features: _Features) -> Codes:
    image, text = _outputs(hashers, features)
    return Codes(features.rows, pack(image), pack(text), features.rows[features.photo_of])


def _baselines(features: _Features, places: np.ndarray, bits: int, seed: int) -> dict[str, Codes]:
    """Codes from the teacher's features alone, each modality centred by its training mean."""
    photos = np.unique(features.photo_of[places])
    image = (features.teacher_image - features.teacher_image[photos].mean(dim=0)).numpy()
    text = (features.teacher_text - features.teacher_text[places].mean(dim=0)).numpy()
    training = np.concatenate([image[photos], text[places]])
    made = {
        "sign of the teacher's principal directions": baselines.principal_signs(training, image, text, bits),
        "ITQ of the teacher": baselines.itq(training, image, text, bits, seed),
    }
    return {what: Codes(features.rows, *codes, features.rows[features.photo_of]) for what, codes in made.items()}


def _save_codes(path: Path, codes: Codes, pairs: Pairs, split: Split) -> None:
    arrays = {
        "rows": codes.rows,
        "photos": codes.photos,
        "texts": codes.texts,
        "text_rows": codes.text_rows,
        "query": split.query,
        "database": split.database,
    }
    if pairs.labels is not None:
        arrays["labels"] = pairs.labels
    np.savez(path, allow_pickle=False, **arrays)


def _check_export(model: HashModel, hashers: Hashers, features: _Features, pairs: Pairs) -> None:
    """Encode a few items from their files by the exported folder, and compare with what torch gives."""
    image, text = _outputs(hashers, features)
    photos = [str(pairs.images[row]) for row in features.rows[:CHECKED]]
    exported = [output for _, output in model.encode_image_files(photos)]
    check(np.stack([output for output in exported if isinstance(output, np.ndarray)]), image[:CHECKED], "image")
    texts = [one for row in features.rows[:CHECKED] for one in pairs.texts[row]][:CHECKED]
    check(model.encode_texts(texts), text[: len(texts)], "text")


def _metrics(reports: dict[str, Report], pairs: Pairs, split: Split) -> list[Metric]:
    dataset = f"{pairs.name}, {split.protocol}, seed {split.seed}, ties by row"
    return [
        Metric(f"{direction} {figure.name}", dataset, round(figure.value, 4), round(figure.chance, 4))
        for direction, report in reports.items()
        for figure in report.figures
    ]


def _card(config: Config, bits: int, reports: dict[str, Report], pairs: Pairs, split: Split) -> str:
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
        lines += [f"| {direction} | {one.name} | {one.value:.4f} | {one.chance:.4f} |" for one in report.figures]
    lines += ["", *(f"Warning: {warning}." for warning in split.warnings)]
    return "\n".join(lines).rstrip() + "\n"


def _data_checksum(pairs: Pairs) -> str:
    """16 hex digits over the ids, texts and labels, and the photos' sizes."""
    digest = hashlib.sha256()
    for row, identity in enumerate(pairs.ids):
        size = pairs.images[row].stat().st_size
        digest.update(json.dumps([identity, pairs.texts[row], size]).encode())
    if pairs.labels is not None:
        digest.update(pairs.labels.tobytes())
    return digest.hexdigest()[:16]
