"""student.safetensors of a hash model: its heads, how to feed them, and a few old items to stay true to."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hashcli.distillation.config import Config
from hashcli.distillation.heads import HashHead
from hashcli.distillation.losses import (
    gap,
    half_inner,
    label_similarity,
    likeness,
    negative_log_likelihood,
    quantisation,
    signs,
)
from hashcli.distillation.material import Hashers, Job, Material
from hashcli.errors import HashcliError

FILE_NAME = "student.safetensors"


@dataclass(frozen=True)
class Anchors:
    """Some items that were trained on: features as in Material, and the codes they got, -1 and +1 [n, bits]."""

    teacher_image: Tensor
    teacher_text: Tensor
    image: Tensor
    text: Tensor
    labels: Tensor | None
    image_codes: Tensor
    text_codes: Tensor


@dataclass(frozen=True)
class Student:
    """A trained student that can go on learning. `towers` are the keys of those whose features it has learned from."""

    config: Config
    towers: dict[str, str]
    vocabulary: list[str]
    label_names: list[str]
    hashers: Hashers
    anchors: Anchors
    learned: int  # how many pairs, of which the anchors are a sample

    def digest(self) -> str:
        """16 hex digits over its weights and anchors."""
        digest = hashlib.sha256()
        for value in [*self.hashers.modules().state_dict().values(), *vars(self.anchors).values()]:
            if value is not None:
                digest.update(value.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def to(self, device: torch.device) -> "Student":
        """The same on a device; the heads are moved, not copied."""
        self.hashers.modules().to(device)
        moved = {name: value if value is None else value.to(device) for name, value in vars(self.anchors).items()}
        return replace(self, anchors=Anchors(**moved))


def choose_anchors(
    material: Material, hashers: Hashers, count: int, seed: int, before: Student | None = None
) -> Anchors:
    """`count` training rows, drawn by the seed, with their codes.

    After an update, the anchors of `before` keep their share, with the codes they had: a sample of all ever learned.
    """
    old = round(count * before.learned / (before.learned + len(material))) if before else 0
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(material), generator=generator)[: count - old]
    with torch.no_grad():
        image, text = material.image[rows], material.text[rows]
        new = Anchors(
            material.teacher_image[rows],
            material.teacher_text[rows],
            image,
            text,
            None if material.labels is None else material.labels[rows],
            signs(hashers.image(image)),
            signs(hashers.text(text)),
        )
    if before is None:
        return new
    kept = torch.randperm(len(before.anchors.image), generator=generator)[:old]
    both = {name: (getattr(before.anchors, name), value) for name, value in vars(new).items()}
    if before.label_names != material.label_names:
        both["labels"] = None, None
    return Anchors(
        **{name: None if b is None or a is None else torch.cat([a[kept], b]) for name, (a, b) in both.items()}
    )


def save_student(folder: Path, student: Student) -> None:
    told = {
        "config": student.config.to_json(),
        "towers": student.towers,
        "learned": student.learned,
        "vocabulary": student.vocabulary,
        "label_names": student.label_names,
    }
    heads = {
        f"heads.{name}": value.cpu().contiguous() for name, value in student.hashers.modules().state_dict().items()
    }
    anchors = {
        f"anchors.{name}": value.cpu().contiguous()
        for name, value in vars(student.anchors).items()
        if value is not None
    }
    save_file({**heads, **anchors}, folder / FILE_NAME, metadata={"hashcli": json.dumps(told)})
    (folder / FILE_NAME).chmod(0o644)  # the library leaves it readable by its owner alone


def load_student(folder: Path) -> Student:
    """Raises HashcliError for a hash model that `hashcli distill` did not write."""
    path = folder / FILE_NAME
    try:
        with safe_open(path, framework="pt") as file:
            told: dict[str, Any] = json.loads(file.metadata()["hashcli"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, KeyError, TypeError, SafetensorError) as error:
        raise HashcliError(
            f"{folder} cannot be updated: {path.name} is missing, or hashcli distill did not write it.",
            "Only a hash model that hashcli distill made can learn more.",
        ) from error
    try:
        config = Config(**told["config"] | {"bits": tuple(told["config"]["bits"])})
        towers = dict(told["towers"])
    except (KeyError, TypeError) as error:
        raise HashcliError(f"{folder} was made by another version of hashcli: {error}.", "Train it anew.") from error
    (bits,) = config.bits
    heads = {name.removeprefix("heads."): value for name, value in tensors.items() if name.startswith("heads.")}
    image = HashHead(heads["image.first.weight"].shape[1], config.hidden, bits, config.dropout)
    text = HashHead(heads["text.first.weight"].shape[1], config.hidden, bits, config.dropout)
    hashers = Hashers(image, text)
    hashers.modules().load_state_dict(heads)
    hashers.modules().eval()
    anchors = Anchors(**{name: tensors.get(f"anchors.{name}") for name in Anchors.__dataclass_fields__})  # type: ignore[arg-type]
    return Student(config, towers, told["vocabulary"], told["label_names"], hashers, anchors, told["learned"])


def update(job: Job, student: Student) -> Hashers:
    """Learn new data without the old: LCDH's online round, with the anchors in place of what is gone. Our choice.

    New items are likened to each other and to the anchors' old codes, and the anchors' own codes must stay, so that
    codes made before go on answering.
    """
    hashers, anchors, material, config = student.hashers, student.anchors, job.material, job.config

    def old_similarity(rows: Tensor) -> Tensor:
        """S between rows and anchors [n, anchors]."""
        if material.labels is not None and anchors.labels is not None and material.label_names == student.label_names:
            return label_similarity(material.labels[rows], anchors.labels)
        image, text = material.teacher_image[rows], material.teacher_text[rows]
        return (likeness(image, text, anchors.teacher_image, anchors.teacher_text) > material.alike).float()

    def likelihood(a: Tensor, b: Tensor, similar: Tensor) -> Tensor:
        return negative_log_likelihood(half_inner(a, b), similar, material.balanced)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        among, old = material.similarity(rows), old_similarity(rows)
        image, text = torch.tanh(hashers.image(material.image[rows])), torch.tanh(hashers.text(material.text[rows]))
        kept_image, kept_text = torch.tanh(hashers.image(anchors.image)), torch.tanh(hashers.text(anchors.text))
        return {
            "inter": likelihood(image, text, among),
            "old": likelihood(image, anchors.text_codes, old) + likelihood(text, anchors.image_codes, old),
            "keep": config.keep * (gap(kept_image, anchors.image_codes) + gap(kept_text, anchors.text_codes)),
            "quantisation": config.quantisation * quantisation(image, text),
        }

    job.train("update", hashers.modules(), loss, hashers.encode)
    return hashers


def kept_bits(student: Student, hashers: Hashers) -> tuple[float, float]:
    """The share of the anchors' bits that new heads still give: of images, and of texts."""
    with torch.no_grad():
        image = signs(hashers.image(student.anchors.image)) == student.anchors.image_codes
        text = signs(hashers.text(student.anchors.text)) == student.anchors.text_codes
    return float(image.float().mean()), float(text.float().mean())
