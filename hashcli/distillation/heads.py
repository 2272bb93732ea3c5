"""What turns a tower's features into outputs, whose signs are the code: hash heads and hash layers."""

import copy
from pathlib import Path
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class HashHead(nn.Module):
    """Features [n, width] to r outputs before the sign: Linear, ReLU, Dropout, Linear. tanh relaxes.

    `input_dropout` leaves out some of the features while it is trained.
    """

    def __init__(self, width: int, hidden: int, bits: int, dropout: float, input_dropout: float = 0.0) -> None:
        super().__init__()
        self.bits = bits
        self.input_dropout = nn.Dropout(input_dropout)
        self.first = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, bits)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.last(self.dropout(functional.relu(self.first(self.input_dropout(features))))))


class StandardisedHead(nn.Module):
    """A hash head on features that are first brought to one scale, for its training alone.

    Over the rows that it is made for [m, width], each feature has mean 0 and the same variance, and a row has a length
    of about `LENGTH`. Our own design: of a tower's features some vary a hundred times as much as others, and these
    would be all that the head learns from.
    """

    LENGTH = 8.0

    def __init__(self, head: HashHead, rows: Tensor) -> None:
        super().__init__()
        self.head = head
        deviation = rows.std(dim=0) if len(rows) > 1 else rows.new_zeros(rows.shape[1])
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", rows.mean(dim=0))
        scale = self.LENGTH / (deviation * rows.shape[1] ** 0.5)
        # What hardly varies says nothing here, and would count for too much in a row where it did.
        self.register_buffer("scale", torch.where(deviation > 1e-3 * deviation.mean(), scale, 0))

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.head((features - self.mean) * self.scale))

    def folded(self) -> HashHead:
        """A plain hash head that gives the same outputs: mean and scale become part of its first layer."""
        plain = copy.deepcopy(self.head)
        with torch.no_grad():
            plain.first.weight *= self.scale
            plain.first.bias -= plain.first.weight @ self.mean
        return plain


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


OutputLayer: TypeAlias = HashHead | StandardisedHead | HashLayer | WhitenedHashLayer


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
