"""What a method is given to train with, and what it gives back."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation.features import Features
from hashcli.distillation.heads import HashHead, OutputLayer, StandardisedHead
from hashcli.distillation.settings import Settings, UnpairedSettings
from hashcli.distillation.towers import ImageTower
from hashcli.distillation.training_loop import EpochReport, Stage, train_stage
from hashcli.distillation.training_set import TrainingSet
from hashcli.errors import HashcliError

# Outputs before the sign, float32: "image" [n, bits] and "text" [t, bits]. A teacher may have "image" alone, or "pair"
# [t, bits], one code for a photo and its text together.
Outputs = dict[str, Tensor]
Encoder = Callable[[Features], Outputs]
OnEpoch = Callable[[EpochReport], None]

MethodSettings = TypeVar("MethodSettings", bound=Settings)
MethodUnpairedSettings = TypeVar("MethodUnpairedSettings", bound=UnpairedSettings)


class Evaluator(Protocol):
    """Evaluates what is being trained, on items that it is not trained on."""

    def validate(self, encode: Encoder, seen: Tensor | None) -> dict[str, float]:
        """One metric for each direction, with the validation photos as queries.

        The database is the training rows `seen`, int64, or all of them for None.
        """

    def report(self, what: str, encode: Encoder) -> None:
        """Report all metrics of the query set as those of `what`."""

    def report_stream(self, what: str, encode: Encoder, seen: Tensor, stored: Tensor | None) -> None:
        """Report all metrics of the query set in a database of the training rows `seen`.

        With `stored` [seen, bits], each has this code, for its photo and its text, in place of those of `encode`.
        Nothing is reported without labels, since only held-out photos are searched for then.
        """

    def report_validation(self, what: str, encode: Encoder) -> None:
        """Report all metrics of the validation photos, in a database of all training rows."""


class NoEvaluator:
    """Evaluates nothing, for callers that do so themselves."""

    def validate(self, encode: Encoder, seen: Tensor | None) -> dict[str, float]:
        return {}

    def report(self, what: str, encode: Encoder) -> None: ...
    def report_stream(self, what: str, encode: Encoder, seen: Tensor, stored: Tensor | None) -> None: ...
    def report_validation(self, what: str, encode: Encoder) -> None: ...


NO_EVALUATOR = NoEvaluator()


@dataclass(frozen=True)
class HashHeads:
    """The student's two hash heads, or a teacher's two hash layers. The sign of an output is the bit."""

    image: OutputLayer
    text: OutputLayer

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"image": self.image, "text": self.text})

    def encode(self, features: Features) -> Outputs:
        """Outputs before the sign: "image" [n, bits] and "text" [t, bits]."""
        return {"image": self.image(features.image), "text": self.text(features.text)}

    def folded(self) -> "HashHeads":
        """The same as a hash model has them: without what is needed only while they are trained."""
        plain = [one.folded() if isinstance(one, StandardisedHead) else one for one in (self.image, self.text)]
        return HashHeads(*plain)


@dataclass(frozen=True)
class Trainer(Generic[MethodSettings]):
    """Trains one method at one code length.

    Checkpoints are kept in the folder `checkpoints`, or not at all if it is None. `on_epoch` is called after each
    epoch.
    """

    training_set: TrainingSet
    settings: MethodSettings
    bits: int
    checkpoints: Path | None
    on_epoch: OnEpoch
    evaluator: Evaluator = NO_EVALUATOR

    def new_head(self, width: int, input_dropout: float = 0.0) -> HashHead:
        """A hash head for features of a width."""
        settings, device = self.settings, self.training_set.image.device
        return HashHead(width, settings.hidden, self.bits, settings.dropout, input_dropout).to(device)

    def new_image_head(self, features: Tensor) -> StandardisedHead:
        """A hash head for a tower's features of photos, of which those of the training rows are given [m, width]."""
        return StandardisedHead(self.new_head(features.shape[1], self.settings.image_dropout), features)

    def new_heads(self, rows: Tensor | None = None) -> HashHeads:
        """The student's heads, drawn from the seed.

        The photos of these training rows say how features vary; without `rows`, those of all that are trained on.
        """
        torch.manual_seed(self.settings.seed)
        image, text = self.training_set.image, self.training_set.text
        if rows is None and not self.settings.distil:  # then rows without labels have no part, not even in this
            rows = self.training_set.labelled
        seen = image if rows is None else image[rows]
        return HashHeads(self.new_image_head(seen), self.new_head(text.shape[1], self.settings.text_dropout))

    def passes(self, rows: Tensor, batches: int) -> int:
        """How many passes over rows make at least that many batches."""
        return math.ceil(batches / math.ceil(len(rows) / self.settings.batch))

    def train_on_labels(
        self,
        name: str,
        modules: nn.ModuleDict,
        loss: Callable[[Tensor], dict[str, Tensor]],
        encode: Encoder,
        among: Tensor | None = None,
    ) -> None:
        """Train a stage that needs labels: on the rows that have some, with more passes where these are few.

        With `among`, only on such rows. Raises HashcliError if there are fewer than two.
        """
        rows, epochs = self.training_set.labelled, self.settings.epochs
        if among is not None:
            rows = among[torch.isin(among, rows)]
        if len(rows) < 2:
            raise HashcliError(f"{name}: fewer than two training photos have labels.", "Give more of them labels.")
        if len(self.training_set.labelled) < len(self.training_set):
            epochs = max(epochs, self.passes(rows, self.settings.labelled_steps))
        self.train(name, modules, loss, encode, rows=rows, epochs=epochs)

    def train(
        self,
        name: str,
        modules: nn.ModuleDict,
        loss: Callable[[Tensor], dict[str, Tensor]],
        encode: Encoder,
        *,
        rows: Tensor | None = None,
        seen: Tensor | None = None,
        epochs: int | None = None,
    ) -> None:
        """Train modules as a stage of a name, and validate what `encode` gives.

        `loss` gets int64 rows [batch] of the training set and returns the terms of the loss by name; their sum is
        minimised. Without `rows`, all are trained on. `seen` is as in `Evaluator.validate`, and `epochs` replaces the
        setting. A module named "tower" has the learning rate for towers.
        """
        chosen = torch.arange(len(self.training_set)) if rows is None else rows
        settings = self.settings
        rates = dict.fromkeys(modules, settings.learning_rate) | {"tower": settings.tune_learning_rate}
        stage = Stage(
            name=name,
            modules=modules,
            loss=lambda batch: loss(chosen[batch]),
            row_count=len(chosen),
            epochs=epochs or settings.epochs,
            batch=settings.batch,
            learning_rates=rates,
            validate=lambda: self.evaluator.validate(encode, seen),
            validate_every=settings.validate_every,
            schedule=settings.schedule,
        )
        train_stage(stage, settings.seed, self.checkpoints, self.on_epoch)


def _always_possible(settings: Any, dataset: ImageTextDataset, teacher: ImageTower) -> None:
    pass


@dataclass(frozen=True)
class Method(Generic[MethodSettings]):
    """A method as the registry finds it: its settings, and the function that trains a student's heads.

    `check` is called before anything is computed, and raises HashcliError if the settings, the dataset and the
    teacher's image tower do not go together. It is not called for an update, which is the same for all methods
    (update.py). `reconstruction` says that the paper's own code was not available, which the model card then states.
    `version` goes up when the method trains otherwise than before, so that a run begun before is not resumed.
    """

    needs_texts: ClassVar[bool] = True  # the photos' own

    summary: str
    settings: type[MethodSettings]
    train: Callable[[Trainer[MethodSettings]], HashHeads]
    check: Callable[[MethodSettings, ImageTextDataset, ImageTower], None] = _always_possible
    needs_teacher_texts: bool = False  # True refuses a teacher that is vectors of photos alone
    reconstruction: bool = False
    version: int = 1


@dataclass(frozen=True)
class UnpairedMethod(Generic[MethodUnpairedSettings]):
    """A method that needs no pairs: it puts hash layers on the teacher's own towers. A student can learn their codes.

    `fit` gets the teacher's features of photos float32 [n, width] and of sentences [m, width], of unit length and in no
    relation to each other, the code length, and a function to call as the training goes on. unpaired.py runs it.
    """

    needs_texts: ClassVar[bool] = False
    reconstruction: ClassVar[bool] = False
    version: ClassVar[int] = 1

    summary: str
    settings: type[MethodUnpairedSettings]
    fit: Callable[[np.ndarray, np.ndarray, int, MethodUnpairedSettings, OnEpoch], HashHeads]
