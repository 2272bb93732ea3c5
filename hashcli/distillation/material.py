"""What a method is given to train on, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from hashcli.distillation.config import Config
from hashcli.distillation.heads import HashHead
from hashcli.distillation.losses import label_similarity, teacher_similarity
from hashcli.distillation.training import Epoch, Stage, train


@dataclass(frozen=True)
class Material:
    """m training rows, each a photo with one of its texts.

    Features are float32, the teacher's of unit length: `teacher_image` and `teacher_text` [m, teacher width], `image`
    [m, backbone width], `text` [m, words] or [m, tower width]. `labels` [m, classes] of 0 and 1, or None. `prompts`
    turns sentences into the teacher's text features.
    """

    teacher_image: Tensor
    teacher_text: Tensor
    image: Tensor
    text: Tensor
    labels: Tensor | None
    label_names: list[str]
    prompts: Callable[[list[str]], Tensor]

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device) -> "Material":
        """The same on a device."""
        return replace(
            self,
            teacher_image=self.teacher_image.to(device),
            teacher_text=self.teacher_text.to(device),
            image=self.image.to(device),
            text=self.text.to(device),
            labels=None if self.labels is None else self.labels.to(device),
            prompts=lambda sentences: self.prompts(sentences).to(device),
        )

    def similarity(self, rows: Tensor, neighbours: float) -> Tensor:
        """S of a batch: from labels, or where there are none from the teacher."""
        if self.labels is not None:
            return label_similarity(self.labels[rows])
        return teacher_similarity(self.teacher_image[rows], self.teacher_text[rows], neighbours)


@dataclass(frozen=True)
class Hashers:
    """The student's two hash heads. An output's sign is the bit."""

    image: HashHead
    text: HashHead

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"image": self.image, "text": self.text})


@dataclass(frozen=True)
class Job:
    """One training of one method at one bit length."""

    material: Material
    config: Config
    bits: int
    checkpoints: Path | None
    tell: Callable[[Epoch], None]

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
        rows: Tensor | None = None,
        epochs: int | None = None,
    ) -> None:
        """Train modules on all rows, or on some of them."""
        chosen = torch.arange(len(self.material)) if rows is None else rows
        train(
            Stage(
                name=name,
                modules=modules,
                loss=lambda batch: loss(chosen[batch]),
                items=len(chosen),
                epochs=epochs or self.config.epochs,
                batch=self.config.batch,
                learning_rates=dict.fromkeys(modules, self.config.learning_rate),
            ),
            self.config.seed,
            self.checkpoints,
            self.tell,
        )
