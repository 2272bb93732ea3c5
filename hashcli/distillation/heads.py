"""What turns a tower's features into outputs, whose signs are the code: hash heads and hash layers."""

from typing import TypeAlias, cast

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
