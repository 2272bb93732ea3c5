"""Towers such as MobileCLIP's, which learn with several branches a layer and run with one."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from hashcli.errors import HashcliError

if TYPE_CHECKING:
    from hashcli.distillation.towers import TorchImageTower

_TOLERANCE = 1e-3  # of the largest feature: branches are added up in another order


def reparameterised(tower: "TorchImageTower") -> nn.Module:
    """A copy of the tower whose branches are merged; the tower itself where there are none.

    Raises HashcliError if the merged tower gives other features.
    """
    mergeable = ("fuse", "reparameterize", "switch_to_deploy")  # what timm calls
    if not any(hasattr(part, name) for part in tower.modules() for name in mergeable):
        return tower
    from timm.utils.model import reparameterize_model

    merged: nn.Module = reparameterize_model(tower)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, tower.size, tower.size, 3), dtype=torch.uint8, generator=generator)
    pixels = noise.to(tower.mean.device)
    with torch.inference_mode():
        before, after = tower(pixels), merged(pixels)
    if not torch.allclose(before, after, rtol=0, atol=_TOLERANCE * float(before.abs().max())):
        raise HashcliError(
            f"The image encoder {tower.key} gives other features after its branches are merged.",
            "Update timm: pip install -U timm",
        )
    return merged
