"""student.safetensors of a hash model: its heads, how to feed them, and a few old items to stay true to."""

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
    negative_log_likelihood,
    quantisation,
    signs,
    teacher_similarity,
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
    """A trained student that can go on learning."""

    config: Config
    vocabulary: list[str]
    label_names: list[str]
    hashers: Hashers
    anchors: Anchors

    def to(self, device: torch.device) -> "Student":
        """The same on a device; the heads are moved, not copied."""
        self.hashers.modules().to(device)
        moved = {name: value if value is None else value.to(device) for name, value in vars(self.anchors).items()}
        return replace(self, anchors=Anchors(**moved))


def choose_anchors(material: Material, hashers: Hashers, count: int, seed: int) -> Anchors:
    """`count` training rows, drawn by the seed, with their codes."""
    rows = torch.randperm(len(material), generator=torch.Generator().manual_seed(seed))[:count]
    with torch.no_grad():
        image, text = material.image[rows], material.text[rows]
        return Anchors(
            material.teacher_image[rows],
            material.teacher_text[rows],
            image,
            text,
            None if material.labels is None else material.labels[rows],
            signs(hashers.image(image)),
            signs(hashers.text(text)),
        )


def save_student(folder: Path, student: Student) -> None:
    told = {
        "config": student.config.to_json(),
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
    config = Config(**told["config"] | {"bits": tuple(told["config"]["bits"])})
    (bits,) = config.bits
    heads = {name.removeprefix("heads."): value for name, value in tensors.items() if name.startswith("heads.")}
    image = HashHead(heads["image.first.weight"].shape[1], config.hidden, bits, config.dropout)
    text = HashHead(heads["text.first.weight"].shape[1], config.hidden, bits, config.dropout)
    hashers = Hashers(image, text)
    hashers.modules().load_state_dict(heads)
    hashers.modules().eval()
    anchors = Anchors(**{name: tensors.get(f"anchors.{name}") for name in Anchors.__dataclass_fields__})  # type: ignore[arg-type]
    return Student(config, told["vocabulary"], told["label_names"], hashers, anchors)


def update(job: Job, student: Student) -> Hashers:
    """Learn new data without the old: LCDH's online round, with the anchors in place of what is gone. Our choice.

    New items are likened to each other and to the anchors' old codes, and the anchors' own codes must stay, so that
    codes made before go on answering.
    """
    hashers, anchors, material, config = student.hashers, student.anchors, job.material, job.config
    by_labels = anchors.labels is not None and material.label_names == student.label_names

    def similarity(rows: Tensor) -> tuple[Tensor, Tensor]:
        """S among the rows [n, n], and between rows and anchors [n, anchors]."""
        image = torch.cat([material.teacher_image[rows], anchors.teacher_image])
        text = torch.cat([material.teacher_text[rows], anchors.teacher_text])
        if by_labels and material.labels is not None and anchors.labels is not None:
            similar = label_similarity(torch.cat([material.labels[rows], anchors.labels]))
        else:
            similar = teacher_similarity(image, text, config.neighbours)
        return similar[: len(rows), : len(rows)], similar[: len(rows), len(rows) :]

    def loss(rows: Tensor) -> dict[str, Tensor]:
        among, old = similarity(rows)
        image, text = torch.tanh(hashers.image(material.image[rows])), torch.tanh(hashers.text(material.text[rows]))
        kept_image, kept_text = torch.tanh(hashers.image(anchors.image)), torch.tanh(hashers.text(anchors.text))
        return {
            "inter": negative_log_likelihood(half_inner(image, text), among),
            "old": negative_log_likelihood(half_inner(image, anchors.text_codes), old)
            + negative_log_likelihood(half_inner(text, anchors.image_codes), old),
            "keep": 10 * (gap(kept_image, anchors.image_codes) + gap(kept_text, anchors.text_codes)),
            "quantisation": config.quantisation * quantisation(image, text),
        }

    job.train("update", hashers.modules(), loss)
    return hashers


def kept_bits(student: Student, hashers: Hashers) -> tuple[float, float]:
    """The share of the anchors' bits that new heads still give: of images, and of texts."""
    with torch.no_grad():
        image = signs(hashers.image(student.anchors.image)) == student.anchors.image_codes
        text = signs(hashers.text(student.anchors.text)) == student.anchors.text_codes
    return float(image.float().mean()), float(text.float().mean())
