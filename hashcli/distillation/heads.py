"""What turns a tower's features into outputs, whose signs are the code: hash heads and hash layers."""

from pathlib import Path
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class HashHead(nn.Module):
    """Features [n, width] to r outputs before the sign: Linear, ReLU, Dropout, Linear. tanh relaxes."""

    def __init__(self, width: int, hidden: int, bits: int, dropout: float) -> None:
        super().__init__()
        self.bits = bits
        self.first = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, bits)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.last(self.dropout(functional.relu(self.first(features)))))


class HashLayer(nn.Linear):
    """Features [n, width] to r outputs before the sign by one linear layer: W x + b, with W [r, width]."""

    @property
    def bits(self) -> int:
        return cast(int, self.out_features)


class WhitenedHashLayer(nn.Module):
    """Features [n, width] to r outputs before the sign: W unit(A x + a) + b, where A whitens the features."""

    def __init__(self, whiten: nn.Linear, last: HashLayer) -> None:
        super().__init__()
        self.bits = last.bits
        self.whiten, self.last = whiten, last

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.last(functional.normalize(self.whiten(features))))


OutputLayer: TypeAlias = HashHead | HashLayer | WhitenedHashLayer


def save_layers(path: Path, *layers: HashLayer | WhitenedHashLayer) -> None:
    """Write the weights of hash layers, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    torch.save([layer.state_dict() for layer in layers], temporary)
    temporary.replace(path)


def load_layers(path: Path) -> list[HashLayer | WhitenedHashLayer]:
    """The hash layers that `save_layers` wrote, which no training changes any more."""
    return [_with_weights(weights) for weights in torch.load(path, weights_only=True)]


def _with_weights(weights: dict[str, Tensor]) -> HashLayer | WhitenedHashLayer:
    layer: HashLayer | WhitenedHashLayer
    if "whiten.weight" in weights:
        whiten = nn.Linear(*weights["whiten.weight"].shape[::-1])
        layer = WhitenedHashLayer(whiten, HashLayer(*weights["last.weight"].shape[::-1]))
    else:
        layer = HashLayer(*weights["weight"].shape[::-1])
    layer.load_state_dict(weights)
    return layer.requires_grad_(False)
