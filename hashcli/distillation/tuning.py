"""Fine-tuning an image tower: CKDH's teacher within its own stage (ckdh.py), a student's backbone in one before it."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.config import Config
from hashcli.distillation.heads import HashHead
from hashcli.distillation.losses import contrast, half_inner, negative_log_likelihood
from hashcli.distillation.towers import ImageTower, TorchImageTower
from hashcli.distillation.training import Epoch, Stage, train
from hashcli.errors import HashcliError
from hashcli.hashmodel.images import load_pixels
from hashcli.hashmodel.model import IMAGE_BATCH
from hashcli.hashmodel.prefetch import batched, prefetch

_BLOCK = re.compile(r"(.*\b(?:resblocks|blocks|layers|stages|layer|features)\.?)(\d+)\.")


def tunable(tower: ImageTower, what: str) -> TorchImageTower:
    """The tower, if it is a torch module. Raises HashcliError for a hash model's: it is used as it is."""
    if not isinstance(tower, TorchImageTower):
        raise HashcliError(
            f"{what}: a hash model's tower cannot be tuned.", "Name an open_clip model, or timm:NAME for a student."
        )
    return tower


class TunedTower(nn.Module):
    """An image tower whose last block, or all of it, is trained. It reads photos from their files.

    It is never in training mode: its normalisation keeps its statistics, and nothing is dropped.
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
        """The same of any number of photos, without gradients."""
        with torch.no_grad():
            return torch.cat([self(batch) for batch in batched(photos, IMAGE_BATCH)])

    def digest(self) -> str:
        """16 hex digits over what was trained."""
        digest = hashlib.sha256()
        for parameter in self.parameters():
            if parameter.requires_grad:
                digest.update(parameter.detach().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


def tune(
    tower: TorchImageTower,
    photos: Sequence[Path],
    texts: Tensor,
    similarity: Callable[[Tensor], Tensor],
    config: Config,
    checkpoints: Path,
    tell: Callable[[Epoch], None],
) -> None:
    """Fine-tune a student's tower on the training photos, in place; its key changes with its weights. Ours.

    It learns, through a hash head that is then thrown away, which photos are similar, and to be close to its texts'
    features where both have one width, as CLIP's do. `texts` [m, d] are the photos' text features, and `similarity`
    gives S of some rows.
    """
    tuned = TunedTower(tower, config.tune_student)
    torch.manual_seed(config.seed)
    head = HashHead(tower.width, config.hidden, min(config.bits), config.dropout).to(tower.mean.device)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        features = tuned([photos[row] for row in rows.tolist()])
        relaxed = torch.tanh(head(features))
        terms = {"likelihood": negative_log_likelihood(half_inner(relaxed, relaxed), similarity(rows))}
        if texts.shape[1] == tower.width:
            terms["contrast"] = config.contrast * contrast(features, texts[rows])
        return terms

    stage = Stage(
        name="tune-student",
        modules=nn.ModuleDict({"tower": tuned, "head": head}),
        loss=loss,
        items=len(photos),
        epochs=config.tune_epochs,
        batch=config.tune_batch,
        learning_rates={"tower": config.tune_learning_rate, "head": config.learning_rate},
    )
    train(stage, config.seed, checkpoints, tell)
    tower.key += f"-tuned-{tuned.digest()}"
    tower.requires_grad_(False)


def _parameters(encoder: nn.Module, share: str) -> list[nn.Parameter]:
    """All parameters, or those from the last block on, in the order in which the model defines them."""
    named = list(encoder.named_parameters())
    if share == "full":
        return [parameter for _, parameter in named]
    blocks = [match.group(0) for name, _ in named if (match := _BLOCK.match(name))]
    if not blocks:
        raise HashcliError("This tower has no blocks that hashcli can tell apart.", "Tune it in full.")
    first = next(i for i, (name, _) in enumerate(named) if name.startswith(blocks[-1]))
    return [parameter for _, parameter in named[first:]]


def _pixels(tower: TorchImageTower, paths: Sequence[Path]) -> Tensor:
    """uint8 [n, size, size, 3] on the tower's device."""
    pixels = []
    loaded = prefetch(lambda path: load_pixels(path, tower.size, tower.resize), paths, len(paths))
    for path, result in loaded:
        if isinstance(result, Exception):
            raise HashcliError(f"{path} cannot be read: {result}.", "Restore it from the dataset's archive.")
        pixels.append(result)
    return torch.from_numpy(np.stack(pixels)).to(tower.mean.device)
