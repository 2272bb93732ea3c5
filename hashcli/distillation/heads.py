"""The small networks that are trained: hash heads, and the teachers of CKDH and LCDH over frozen features."""

from typing import cast

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


class GraphAttention(nn.Module):
    """One layer of a graph attention network over the n items of a batch (Velickovic et al., ICLR 2018).

    e_ij = LeakyReLU(a . [W x_i, W x_j]) over the edges, softmax over j, and the heads' results side by side.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, width, bias=False)
        self.from_self = nn.Parameter(torch.empty(heads, width // heads))
        self.from_other = nn.Parameter(torch.empty(heads, width // heads))
        nn.init.xavier_uniform_(self.from_self)
        nn.init.xavier_uniform_(self.from_other)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """x [n, width], edges bool [n, n] with every item its own neighbour; to [n, width]."""
        n = len(x)
        projected = self.project(self.dropout(x)).view(n, self.heads, -1)  # [n, heads, width / heads]
        own = (projected * self.from_self).sum(dim=-1)  # [n, heads]
        other = (projected * self.from_other).sum(dim=-1)
        scores = functional.leaky_relu(own[:, None] + other[None], 0.2)  # [n, n, heads]
        weights = self.dropout(scores.masked_fill(~edges[..., None], float("-inf")).softmax(dim=1))
        mixed = torch.einsum("ijh,jhd->ihd", weights, projected).reshape(n, -1)
        return cast(Tensor, self.norm(x + functional.elu(mixed)))  # residual


class GraphTextTeacher(nn.Module):
    """CKDH's text teacher: bag of words [n, words] to r outputs through graph attention over the batch.

    Two texts are neighbours if one's bag is among the nearest of the other's by cosine. Labels are not used for the
    graph, since the loss uses them already. Without graph attention, an ablation, a text's only neighbour is itself.
    """

    def __init__(self, words: int, bits: int, dropout: float, neighbours: int, *, attend: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(words, 512)
        self.attention = nn.ModuleList([GraphAttention(512, heads=4, dropout=dropout) for _ in range(2)])
        self.head = HashHead(512, 512, bits, dropout)
        self.neighbours = neighbours
        self.attend = attend

    def forward(self, bags: Tensor) -> Tensor:
        edges = self.edges(bags) if self.attend else torch.eye(len(bags), dtype=torch.bool, device=bags.device)
        x = functional.normalize(self.embed(bags))
        for layer in self.attention:
            x = layer(x, edges)
        return cast(Tensor, self.head(x))

    def edges(self, bags: Tensor) -> Tensor:
        """bool [n, n], symmetric: each text itself, and its nearest by cosine among those that share a word with it."""
        unit = functional.normalize(bags)
        similarity = unit @ unit.T
        nearest = similarity.topk(min(self.neighbours + 1, len(bags)), dim=1).indices
        edges = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, nearest, True) & (similarity > 0)
        return edges | edges.T | torch.eye(len(bags), dtype=torch.bool, device=bags.device)


class FusedTeacher(nn.Module):
    """LCDH's teacher: the two features of one item as two tokens, one attention block, and a fully connected layer.

    It needs both modalities of an item, so it can teach but cannot encode a query.
    """

    def __init__(self, width: int, bits: int, heads: int, *, attend: bool) -> None:
        super().__init__()
        self.modality = nn.Parameter(torch.zeros(2, width))
        self.block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.head = nn.Linear(2 * width, bits)
        self.attend = attend

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, width] each; to outputs [n, bits] and the attended tokens [n, 2, width]."""
        tokens = torch.stack([image, text], dim=1) + self.modality
        if self.attend:
            tokens = self.block(tokens)
        return self.head(tokens.flatten(1)), tokens
