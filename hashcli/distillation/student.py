"""student.safetensors of a hash model, which lets the student go on learning.

It holds the heads, the settings, the keys of the towers, the vocabulary, and anchors: a sample of the training items.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.heads import HashHead
from hashcli.distillation.losses import signs
from hashcli.distillation.resolve import settings_from_json
from hashcli.distillation.settings import Settings
from hashcli.distillation.trainer import HashHeads
from hashcli.distillation.training_set import TrainingSet
from hashcli.distillation.tuning import TUNED
from hashcli.errors import HashcliError
from hashcli.parsing import parse_json

FILE_NAME = "student.safetensors"


@dataclass(frozen=True)
class Anchors:
    """n items that were trained on: features as in TrainingSet, and the codes they got, -1 and +1 [n, bits]."""

    teacher_image: Tensor
    teacher_text: Tensor
    image: Tensor
    text: Tensor
    labels: Tensor | None
    image_codes: Tensor
    text_codes: Tensor


@dataclass(frozen=True)
class Student:
    """A trained student that can go on learning.

    `towers` are the keys of the towers whose features it has learned from, and `learned` is the number of pairs, of
    which the anchors are a sample.
    """

    settings: Settings
    towers: dict[str, str]
    vocabulary: list[str]
    label_names: list[str]
    heads: HashHeads
    anchors: Anchors
    learned: int

    @property
    def is_tuned(self) -> bool:
        """Whether its image tower was fine-tuned, and so exists only in the exported model."""
        return TUNED in self.towers["student"]

    def digest(self) -> str:
        """16 hex digits over its weights and anchors."""
        digest = hashlib.sha256()
        for value in [*self.heads.modules().state_dict().values(), *vars(self.anchors).values()]:
            if value is not None:
                digest.update(value.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def to(self, device: torch.device) -> "Student":
        """The same on a device; the heads are moved, not copied."""
        self.heads.modules().to(device)
        moved = {name: value if value is None else value.to(device) for name, value in vars(self.anchors).items()}
        return replace(self, anchors=Anchors(**moved))


def with_new_words(student: Student, words: list[str]) -> Student:
    """The same student with the words added to its bag. Its codes of old texts, which have none of them, stay as they
    are: what the words mean is for the update to learn, from weights of 0.
    """
    new = [word for word in words if word not in set(student.vocabulary)]
    anchors = replace(student.anchors, text=functional.pad(student.anchors.text, (0, len(new))))
    first = student.heads.text.first
    wider = nn.Linear(first.in_features + len(new), first.out_features, device=first.weight.device)
    wider.load_state_dict({"weight": functional.pad(first.weight.detach(), (0, len(new))), "bias": first.bias.detach()})
    student.heads.text.first = wider
    return replace(student, vocabulary=[*student.vocabulary, *new], anchors=anchors)


def choose_anchors(
    training_set: TrainingSet, heads: HashHeads, settings: Settings, before: Student | None = None
) -> Anchors:
    """As many training rows as the settings say, drawn by their seed, with their codes.

    After an update, some are of `before`, with the codes they had there: as many as make the whole an even sample of
    all items ever learned.
    """
    count = settings.anchors
    old = round(count * before.learned / (before.learned + len(training_set))) if before else 0
    generator = torch.Generator().manual_seed(settings.seed)
    rows = torch.randperm(len(training_set), generator=generator)[: count - old]
    with torch.no_grad():
        image, text = training_set.image[rows], training_set.text[rows]
        new = Anchors(
            training_set.teacher_image[rows],
            training_set.teacher_text[rows],
            image,
            text,
            None if training_set.labels is None else training_set.labels[rows],
            signs(heads.image(image)),
            signs(heads.text(text)),
        )
    if before is None:
        return new
    kept = torch.randperm(len(before.anchors.image), generator=generator)[:old]
    both = {name: (getattr(before.anchors, name), value) for name, value in vars(new).items()}
    if before.label_names != training_set.label_names:
        both["labels"] = None, None
    return Anchors(
        **{name: None if b is None or a is None else torch.cat([a[kept], b]) for name, (a, b) in both.items()}
    )


def save_student(folder: Path, student: Student) -> None:
    """Write student.safetensors into a hash-model folder."""
    about = {
        "config": student.settings.to_json(),
        "towers": student.towers,
        "learned": student.learned,
        "vocabulary": student.vocabulary,
        "label_names": student.label_names,
    }
    heads = {f"heads.{name}": value for name, value in student.heads.modules().state_dict().items()}
    anchors = {f"anchors.{name}": value for name, value in vars(student.anchors).items() if value is not None}
    tensors = {name: value.cpu().contiguous() for name, value in {**heads, **anchors}.items()}
    save_file(tensors, folder / FILE_NAME, metadata={"hashcli": json.dumps(about)})
    (folder / FILE_NAME).chmod(0o644)  # the library leaves it readable by its owner alone


def load_student(folder: Path) -> Student:
    """The student of a hash-model folder, with its heads in evaluation mode.

    Settings that were added after it was trained have their defaults. Raises HashcliError for a hash model that
    hashcli did not train.
    """
    path = folder / FILE_NAME
    try:
        with safe_open(path, framework="pt") as file:
            about: dict[str, Any] = parse_json(file.metadata()["hashcli"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise HashcliError(
            f"{folder} cannot be updated: {path.name} is missing, or hashcli did not write it.",
            "Only a student that hashcli trained can be updated. Hash layers of itq and rank are fitted anew.",
        ) from error
    try:
        settings = settings_from_json(about["config"])
        towers = dict(about["towers"])
        heads = _load_heads(settings, tensors)
        anchors = Anchors(**{name: tensors.get(f"anchors.{name}") for name in Anchors.__dataclass_fields__})  # type: ignore[arg-type]
        return Student(settings, towers, about["vocabulary"], about["label_names"], heads, anchors, about["learned"])
    except (
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        IndexError,
    ) as error:
        raise HashcliError(f"{folder} was made by another version of hashcli: {error}.", "Train it again.") from error


def _load_heads(settings: Settings, tensors: dict[str, Tensor]) -> HashHeads:
    weights = {name.removeprefix("heads."): value for name, value in tensors.items() if name.startswith("heads.")}
    (bits,) = settings.bits
    image, text = (
        HashHead(weights[f"{kind}.first.weight"].shape[1], settings.hidden, bits, settings.dropout)
        for kind in ("image", "text")
    )
    heads = HashHeads(image, text)
    heads.modules().load_state_dict(weights)
    heads.modules().eval()
    return heads
