"""Hash heads and hash layers: from features to outputs whose signs are the code."""

from typing import cast

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
