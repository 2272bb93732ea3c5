"""Fine-tuning an image tower: a teacher's within its own stage (SODA, CKDH, LCDH), or a student's before the method."""

import copy
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation.features import Features
from hashcli.distillation.heads import HashHead
from hashcli.distillation.losses import info_nce, negative_log_likelihood, theta
from hashcli.distillation.settings import Settings, TeacherSettings
from hashcli.distillation.towers import GraphTower, HashModelTower, ImageTower, TorchImageTower, tower_pixels
from hashcli.distillation.training_loop import EpochReport, Stage, train_stage
from hashcli.distillation.training_set import SupervisedRows, TrainingSet
from hashcli.errors import HashcliError
from hashcli.hashmodel.model import IMAGE_BATCH
from hashcli.hashmodel.prefetch import batched, prefetch

TUNED = "-tuned-"  # in the key of a tuned tower, before the digest of its weights
_BLOCK = re.compile(r"(.*\b(?:resblocks|blocks|layers|stages|layer|features)\.?)(\d+)\.")


def tunable(tower: ImageTower | None, setting: str) -> TorchImageTower:
    """The tower, if it is a torch module. Raises HashcliError, naming the setting, for any other."""
    if not isinstance(tower, TorchImageTower):
        what = "a hash model's tower" if isinstance(tower, HashModelTower | GraphTower) else "features without a tower"
        raise HashcliError(
            f"{setting}: {what} cannot be tuned.", "Name an open_clip model, or timm:NAME for a student."
        )
    return tower


def check_teacher(settings: TeacherSettings, dataset: ImageTextDataset, teacher: ImageTower) -> None:
    """Raises HashcliError for a teacher that is to be fine-tuned and cannot be."""
    if settings.tune_teacher != "head":
        tunable(teacher, "tune_teacher")


class TunedTower(nn.Module):
    """An image tower whose last block, or all of it, is trained in place. It reads photos from their files.

    It is never in training mode, so normalisation keeps its statistics and dropout is off.
    """

    def __init__(self, tower: TorchImageTower, share: str) -> None:
        super().__init__()
        self.tower = tower
        for parameter in _parameters(tower.encoder, share):
            parameter.requires_grad_(True)

    def train(self, mode: bool = True) -> "TunedTower":
        return super().train(False)

    def forward(self, photos: Sequence[Path]) -> Tensor:
        """Features of unit length [n, width], with gradients."""
        with self.tower.arithmetic():
            features = self.tower(_pixels(self.tower, photos))
        return functional.normalize(features.float())

    def features(self, photos: Sequence[Path]) -> Tensor:
        """The same for any number of photos, without gradients."""
        with torch.no_grad():
            return torch.cat([self(batch) for batch in batched(photos, IMAGE_BATCH)])

    def digest(self) -> str:
        """16 hex digits over what was trained."""
        digest = hashlib.sha256()
        for parameter in self.parameters():
            if parameter.requires_grad:
                digest.update(parameter.detach().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


class TeacherImages:
    """The images as a method's teacher sees them: features of a frozen tower, or of a copy that is fine-tuned.

    The copy is trained by the loss of the teacher, since `modules` are among those of its stage.
    """

    def __init__(self, training_set: TrainingSet, settings: TeacherSettings) -> None:
        self._training_set = training_set
        self._tower: TunedTower | None = None
        if settings.tune_teacher != "head":  # a copy, since each code length tunes the tower afresh
            frozen = tunable(training_set.teacher_tower, "tune_teacher")
            self._tower = TunedTower(copy.deepcopy(frozen), settings.tune_teacher)

    def modules(self) -> dict[str, nn.Module]:
        """What there is to train: the tower, or nothing."""
        return {"tower": self._tower} if self._tower else {}

    def of_rows(self, rows: Tensor) -> Tensor:
        """Features [batch, width] of training rows, with gradients for the tower."""
        training_set = self._training_set
        if not self._tower:
            return training_set.teacher_image[rows]
        return self._tower([training_set.photos[place] for place in training_set.photo_of[rows].tolist()])

    def of_all_rows(self) -> Tensor:
        """Features [m, width] of all training rows, without gradients."""
        training_set = self._training_set
        if not self._tower:
            return training_set.teacher_image
        return self._tower.features(training_set.photos)[training_set.photo_of]

    def of_photos(self, features: Features) -> Tensor:
        """Features [n, width] of any photos, without gradients."""
        return self._tower.features(features.photos) if self._tower else features.teacher_image


def tune_student(
    tower: TorchImageTower,
    rows: SupervisedRows,
    settings: Settings,
    checkpoints: Path,
    on_epoch: Callable[[EpochReport], None],
) -> TorchImageTower:
    """A copy of a student's tower, fine-tuned on the training photos; its key says so. Our own design.

    It learns, through a hash head that is then thrown away, which photos are similar, and, if both have one width as
    CLIP's do, to be close to the features of its texts. A photo counts once, with its first text.
    """
    tuned = TunedTower(copy.deepcopy(tower), settings.tune_student)
    first = torch.from_numpy(np.unique(rows.photo_of.cpu().numpy(), return_index=True)[1])
    texts = rows.teacher_text[first]
    torch.manual_seed(settings.seed)
    head = HashHead(tower.width, settings.hidden, min(settings.bits), settings.dropout).to(tower.mean.device)

    def loss(photos: Tensor) -> dict[str, Tensor]:
        features = tuned([rows.photos[place] for place in photos.tolist()])
        relaxed = torch.tanh(head(features))
        similar, known = rows.similarity(first[photos]), rows.known(first[photos])
        terms = {
            "likelihood": negative_log_likelihood(theta(relaxed, relaxed, settings.sharpness), similar, known=known)
        }
        if texts.shape[1] == tower.width:
            terms["contrast"] = settings.contrast * info_nce(features, texts[photos])
        return terms

    stage = Stage(
        name="tune-student",
        modules=nn.ModuleDict({"tower": tuned, "head": head}),
        loss=loss,
        row_count=len(rows.photos),
        epochs=settings.tune_epochs,
        batch=settings.tune_batch,
        learning_rates={"tower": settings.tune_learning_rate, "head": settings.learning_rate},
    )
    train_stage(stage, settings.seed, checkpoints, on_epoch)
    tuned.tower.key = f"{tower.key}{TUNED}{tuned.digest()}"
    tuned.tower.requires_grad_(False)
    return tuned.tower


def _parameters(encoder: nn.Module, share: str) -> list[nn.Parameter]:
    """All parameters, or those from the last block on, in the order in which the model defines them."""
    named = list(encoder.named_parameters())
    if share == "full":
        return [parameter for _, parameter in named]
    blocks = [match.group(0) for name, _ in named if (match := _BLOCK.match(name))]
    if not blocks:
        raise HashcliError("This tower has no blocks that hashcli can tell apart.", 'Tune all of it: "full".')
    first = next(i for i, (name, _) in enumerate(named) if name.startswith(blocks[-1]))
    return [parameter for _, parameter in named[first:]]


def _pixels(tower: TorchImageTower, paths: Sequence[Path]) -> Tensor:
    """uint8 [n, size, size, 3] on the tower's device."""
    pixels = []
    loaded = prefetch(partial(tower_pixels, tower), paths, len(paths))
    for path, result in loaded:
        if isinstance(result, Exception):
            raise HashcliError(f"{path} cannot be read: {result}.", "Restore it from the dataset's archive.")
        pixels.append(result)
    return torch.from_numpy(np.stack(pixels)).to(tower.mean.device)
