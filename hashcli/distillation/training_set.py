"""What a method trains on: rows of a photo with one of its texts, and which of them are similar."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from hashcli.distillation.losses import known_pairs, label_similarity, teacher_similarity
from hashcli.distillation.towers import ImageTower

SAMPLE = 2000  # rows whose similarities to each other give the threshold

Rows = TypeVar("Rows", bound="SupervisedRows")


@dataclass(frozen=True)
class SupervisedRows:
    """m training rows, each a photo with one of its texts, as the teacher sees them, and which are similar.

    `photos` are the files of p photos, and `photo_of` int64 [m] is each row's place among them. `teacher_image` and
    `teacher_text` are float32 [m, teacher width] of unit length. `labels` is float32 [m, classes] of 0 and 1, or None
    where no row has any; a row of zeros alone has no labels. `neighbours` is the share of pairs that are similar where
    there are no labels at all.
    """

    photos: Sequence[Path]
    photo_of: Tensor
    teacher_image: Tensor
    teacher_text: Tensor
    labels: Tensor | None
    label_names: list[str]
    neighbours: float

    def __len__(self) -> int:
        return len(self.photo_of)

    def to(self: Rows, device: torch.device) -> Rows:
        """The same on a device."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(self, **{name: one.to(device) for name, one in values.items() if isinstance(one, Tensor)})

    def similarity(self, rows: Tensor, others: Tensor | None = None) -> Tensor:
        """S in {0, 1}^(rows x others), or among the rows themselves without others.

        Rows that share a label are similar; where a row has no labels and others do, nothing is known of it, and S is
        0. Without any labels, our reconstruction: rows of one photo, and the pairs that the teacher finds most similar.
        """
        others = rows if others is None else others
        if self.labels is not None:
            return label_similarity(self.labels[rows], self.labels[others])
        similarity = teacher_similarity(
            self.teacher_image[rows], self.teacher_text[rows], self.teacher_image[others], self.teacher_text[others]
        )
        same_photo = self.photo_of[rows][:, None] == self.photo_of[others]
        return ((similarity > self.similarity_threshold) | same_photo).float()

    def known(self, rows: Tensor, others: Tensor | None = None) -> Tensor | None:
        """bool [rows, others]: of which pairs it is known whether they are similar. None: of all."""
        if self.labels is None or len(self.labelled) == len(self):
            return None
        return known_pairs(self.labels[rows], self.labels[rows if others is None else others])

    @cached_property
    def labelled(self) -> Tensor:
        """int64: the rows that have labels; all rows, where none has and the teacher says which are similar."""
        return torch.arange(len(self)) if self.labels is None else self.labels.any(dim=1).nonzero().flatten().cpu()

    @property
    def balanced(self) -> bool:
        """Whether similar pairs should weigh as much as all others together: without labels they are few."""
        return self.labels is None

    @cached_property
    def similarity_threshold(self) -> float:
        """A threshold on the teacher's similarity: the share `neighbours` of the pairs of different photos is above it.

        There is one threshold for all batches, so that a pair is similar in each of them or in none.
        """
        rows = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        image, text, photo_of = self.teacher_image[rows], self.teacher_text[rows], self.photo_of[rows]
        each_pair_once = (photo_of[:, None] != photo_of).triu()
        similarities = teacher_similarity(image, text, image, text)[each_pair_once].sort(descending=True).values
        similar = round(self.neighbours * len(similarities))
        if 0 < similar < len(similarities):  # half-way between two, so that rounding errors decide nothing
            return float(similarities[similar - 1] + similarities[similar]) / 2
        return math.inf if similar == 0 else -math.inf  # no pair, and all


@dataclass(frozen=True)
class TrainingSet(SupervisedRows):
    """The training rows with what the student sees of them.

    `image` is float32 [m, width of the student's image tower], and `text` float32 [m, words], [m, width of its text
    tower], or both joined. `prompts` encodes n sentences with the teacher's text tower: float32 [n, teacher width] of
    unit length, on the CPU whatever the run's device. `teacher_tower` is the tower behind `teacher_image`, or None for
    features that come without one.
    """

    image: Tensor
    text: Tensor
    prompts: Callable[[list[str]], Tensor]
    teacher_tower: ImageTower | None
