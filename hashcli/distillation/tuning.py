"""Fine-tuning an image tower before its features are taken: what CKDH does with CLIP; also a student's backbone.

Our reconstruction: the tower learns, through a hash head that is then thrown away, which photos are similar, and stays
close to its texts' features where both have one width, as CLIP's do.
"""

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
from hashcli.hashmodel.ahead import map_ahead
from hashcli.hashmodel.images import load_pixels

_BLOCK = re.compile(r"(.*\b(?:resblocks|blocks|layers|stages|layer|features)\.?)(\d+)\.")


def tune(
    name: str,
    tower: ImageTower,
    share: str,
    photos: Sequence[Path],
    texts: Tensor,
    similarity: Callable[[Tensor], Tensor],
    config: Config,
    checkpoints: Path,
    tell: Callable[[Epoch], None],
) -> TorchImageTower:
    """Train the last block or all of a tower on the training photos; its key changes with its weights.

    `texts` [m, d] are the photos' text features, and `similarity` gives S of some rows. Raises HashcliError for a tower
    that is no torch module: a hash model's is used as it is.
    """
    if not isinstance(tower, TorchImageTower):
        raise HashcliError(
            f"{name}: a hash model's tower cannot be tuned.", "Name an open_clip model, or timm:NAME for a student."
        )
    trained = _parameters(tower.encoder, share)
    for parameter in trained:
        parameter.requires_grad_(True)
    torch.manual_seed(config.seed)
    head = HashHead(tower.width, config.hidden, min(config.bits), config.dropout).to(tower.mean.device)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        tower.eval()  # its normalisation keeps its statistics
        features = functional.normalize(tower(_pixels(tower, [photos[row] for row in rows.tolist()])))
        relaxed = torch.tanh(head(features))
        terms = {"likelihood": negative_log_likelihood(half_inner(relaxed, relaxed), similarity(rows))}
        if texts.shape[1] == tower.width:
            terms["contrast"] = 0.1 * contrast(features, texts[rows])
        return terms

    stage = Stage(
        name=f"tune-{name}",
        modules=nn.ModuleDict({"tower": tower.encoder, "head": head}),
        loss=loss,
        items=len(photos),
        epochs=config.tune_epochs,
        batch=config.tune_batch,
        learning_rates={"tower": config.tune_learning_rate, "head": config.learning_rate},
    )
    train(stage, config.seed, checkpoints, tell)
    tower.eval().requires_grad_(False)
    tower.key += f"-tuned-{_digest(trained)}"
    return tower


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


def _pixels(tower: TorchImageTower, paths: list[Path]) -> Tensor:
    """uint8 [n, size, size, 3] on the tower's device."""
    pixels = []
    loaded = map_ahead(lambda path: load_pixels(path, tower.size, tower.resize), paths, len(paths))
    for path, result in loaded:
        if isinstance(result, Exception):
            raise HashcliError(f"{path} cannot be read: {result}.", "Restore it from the dataset's archive.")
        pixels.append(result)
    return torch.from_numpy(np.stack(pixels)).to(tower.mean.device)


def _digest(parameters: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for parameter in parameters:
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
