"""What a method is given to train on, and what it gives back."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from hashcli.distillation.config import Config
from hashcli.distillation.heads import HashHead
from hashcli.distillation.losses import label_similarity, likeness
from hashcli.distillation.towers import TorchImageTower
from hashcli.distillation.training import Epoch, Stage, train

SAMPLED = 2000  # rows among which the teacher's likeness is looked at, to tell what is similar


@dataclass(frozen=True)
class Features:
    """What the towers see of n photos and their t texts.

    float32, the teacher's of unit length: `teacher_image` [n, teacher width] and `teacher_text` [t, teacher width],
    `image` [n, backbone width], `text` [t, words] or [t, tower width]. `photo_of` int64 [t] is each text's photo, and
    `photos` their n files.
    """

    photos: Sequence[Path]
    photo_of: Tensor
    teacher_image: Tensor
    teacher_text: Tensor
    image: Tensor
    text: Tensor

    def part(self, photos: Tensor) -> "Features":
        """Some photos, by their ascending places, and all their texts."""
        photos = photos.to(self.photo_of.device)
        texts = torch.isin(self.photo_of, photos).nonzero().flatten()
        return Features(
            [self.photos[place] for place in photos.tolist()],
            torch.searchsorted(photos, self.photo_of[texts]),
            self.teacher_image[photos],
            self.teacher_text[texts],
            self.image[photos],
            self.text[texts],
        )

    def to(self, device: torch.device) -> "Features":
        """The same on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


# Outputs before the sign: "image" [n, bits] and "text" [t, bits]; a teacher may have but "image", or "pair" [t, bits],
# one code for a photo and its text together.
Encode = Callable[[Features], dict[str, Tensor]]


class Measure(Protocol):
    """Measures what is being trained, on what it does not learn from."""

    def validate(self, encode: Encode, seen: Tensor | None) -> dict[str, float]:
        """One figure for each direction, of validation photos as queries. `seen`: the training rows that are the
        database, all if None."""

    def report(self, what: str, encode: Encode) -> None:
        """Tell of all figures of the query set."""

    def report_validation(self, what: str, encode: Encode, seen: Tensor | None) -> None:
        """Tell of all figures of validation."""


class NoMeasure:
    """For those who measure by themselves."""

    def validate(self, encode: Encode, seen: Tensor | None) -> dict[str, float]:
        return {}

    def report(self, what: str, encode: Encode) -> None: ...
    def report_validation(self, what: str, encode: Encode, seen: Tensor | None) -> None: ...


NO_MEASURE = NoMeasure()


@dataclass(frozen=True)
class Material:
    """m training rows, each a photo with one of its texts.

    Features are as in Features, a row each. `photo` int64 [m] is each row's place in `photos`. `labels` [m, classes] of
    0 and 1, or None. `prompts` turns sentences into the teacher's text features. `teacher_tower` is there where it is
    to be fine-tuned.
    """

    photos: Sequence[Path]
    photo: Tensor
    teacher_image: Tensor
    teacher_text: Tensor
    image: Tensor
    text: Tensor
    labels: Tensor | None
    label_names: list[str]
    neighbours: float
    prompts: Callable[[list[str]], Tensor]
    teacher_tower: TorchImageTower | None = None

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device) -> "Material":
        """The same on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved, prompts=lambda sentences: self.prompts(sentences).to(device))

    def similarity(self, rows: Tensor, others: Tensor | None = None) -> Tensor:
        """S in {0, 1}^(rows x others), among the rows themselves where there are no others.

        Rows are similar that share a label. Without labels, our reconstruction: rows of one photo, and those that the
        teacher finds most alike.
        """
        others = rows if others is None else others
        if self.labels is not None:
            return label_similarity(self.labels[rows], self.labels[others])
        alike = likeness(
            self.teacher_image[rows], self.teacher_text[rows], self.teacher_image[others], self.teacher_text[others]
        )
        return ((alike > self.alike) | (self.photo[rows][:, None] == self.photo[others])).float()

    @property
    def balanced(self) -> bool:
        """Whether similar pairs are to weigh as much as all others: without labels they are few."""
        return self.labels is None

    @cached_property
    def alike(self) -> float:
        """How alike the teacher must find two rows of different photos: the share `neighbours` of such pairs is.

        One bound for all batches, so that a pair is similar in each or in none.
        """
        rows = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:SAMPLED]
        image, text, photo = self.teacher_image[rows], self.teacher_text[rows], self.photo[rows]
        each_once = (photo[:, None] != photo).triu()
        alike = likeness(image, text, image, text)[each_once].sort(descending=True).values
        similar = round(self.neighbours * len(alike))
        if 0 < similar < len(alike):  # between two, lest rounding decides
            return float(alike[similar - 1] + alike[similar]) / 2
        return math.inf if similar == 0 else -math.inf  # no pair, and all


@dataclass(frozen=True)
class Hashers:
    """The student's two hash heads. An output's sign is the bit."""

    image: HashHead
    text: HashHead

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"image": self.image, "text": self.text})

    def encode(self, features: Features) -> dict[str, Tensor]:
        return {"image": self.image(features.image), "text": self.text(features.text)}


@dataclass(frozen=True)
class Job:
    """One training of one method at one bit length."""

    material: Material
    config: Config
    bits: int
    checkpoints: Path | None
    tell: Callable[[Epoch], None]
    measure: Measure = NO_MEASURE

    def head(self, width: int) -> HashHead:
        return HashHead(width, self.config.hidden, self.bits, self.config.dropout).to(self.material.image.device)

    def hashers(self) -> Hashers:
        """New heads for the student, drawn from the seed."""
        torch.manual_seed(self.config.seed)
        return Hashers(self.head(self.material.image.shape[1]), self.head(self.material.text.shape[1]))

    def train(
        self,
        name: str,
        modules: nn.ModuleDict,
        loss: Callable[[Tensor], dict[str, Tensor]],
        encode: Encode,
        *,
        rows: Tensor | None = None,
        seen: Tensor | None = None,
        epochs: int | None = None,
        tower_rate: float | None = None,
    ) -> None:
        """Train modules on all rows, or on some of them, and validate what `encode` gives.

        `seen` is as in Measure.validate; `tower_rate` is the learning rate of a module named tower.
        """
        chosen = torch.arange(len(self.material)) if rows is None else rows
        rates = dict.fromkeys(modules, self.config.learning_rate)
        if tower_rate is not None:
            rates["tower"] = tower_rate
        train(
            Stage(
                name=name,
                modules=modules,
                loss=lambda batch: loss(chosen[batch]),
                items=len(chosen),
                epochs=epochs or self.config.epochs,
                batch=self.config.batch,
                learning_rates=rates,
                validate=lambda: self.measure.validate(encode, seen),
                validate_every=self.config.validate_every,
            ),
            self.config.seed,
            self.checkpoints,
            self.tell,
        )
