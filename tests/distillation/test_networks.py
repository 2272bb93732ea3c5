"""The small networks, against plain loops."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hashcli.distillation.ckdh import GraphAttention, GraphTextTeacher
from hashcli.distillation.heads import HashHead, StandardisedHead
from hashcli.distillation.lcdh import FusedTeacher


def attention_by_loops(layer: GraphAttention, x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Item i's sum over its neighbours j of softmax_j(LeakyReLU(a . [W x_i, W x_j])) W x_j, head by head."""
    w, own, other = (value.detach().numpy() for value in (layer.project.weight, layer.from_self, layer.from_other))
    n, width = x.shape
    part = width // layer.heads
    mixed = np.zeros((n, width))
    for head in range(layer.heads):
        columns = slice(head * part, (head + 1) * part)
        projected = x @ w.T[:, columns]
        for i in range(n):
            neighbours = np.flatnonzero(edges[i])
            scores = np.array([own[head] @ projected[i] + other[head] @ projected[j] for j in neighbours])
            scores = np.exp(np.where(scores > 0, scores, 0.2 * scores))
            for j, score in zip(neighbours, scores / scores.sum(), strict=True):
                mixed[i, columns] += score * projected[j]
    summed = x + np.where(mixed > 0, mixed, np.exp(np.minimum(mixed, 0)) - 1)
    centred = summed - summed.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5))


@pytest.fixture
def layer() -> GraphAttention:
    torch.manual_seed(0)
    return GraphAttention(width=8, heads=2, dropout=0.5).eval()


def test_graph_attention_on_four_nodes(layer: GraphAttention) -> None:
    x = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    edges = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)
    given = layer(torch.tensor(x), torch.tensor(edges)).detach().numpy()
    assert given == pytest.approx(attention_by_loops(layer, x, edges), abs=1e-5)


def test_a_node_without_neighbours_sees_only_itself(layer: GraphAttention) -> None:
    x = torch.randn(4, 8)
    alone = layer(x, torch.eye(4, dtype=torch.bool))
    changed = x.clone()
    changed[1:] = torch.randn(3, 8)
    assert torch.equal(layer(changed, torch.eye(4, dtype=torch.bool))[0], alone[0])
    edges = torch.ones(4, 4, dtype=torch.bool)
    assert not torch.allclose(layer(changed, edges)[0], layer(x, edges)[0])


def text_teacher(attend: bool) -> GraphTextTeacher:
    torch.manual_seed(0)
    return GraphTextTeacher(words=5, bits=16, dropout=0.1, neighbours=1, attend=attend).eval()


def test_texts_are_neighbours_that_are_nearest_and_share_a_word() -> None:
    """By hand: texts 0, 1 and 2 have the same two words but for one; 3 shares none; 4 is empty."""
    bags = torch.tensor([[1.0, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]])
    edges = text_teacher(attend=True).edges(bags)
    assert edges.dtype == torch.bool
    assert torch.equal(edges, edges.T)
    assert bool(edges.diagonal().all())
    assert bool(edges[0, 1])
    assert edges[3].tolist() == [False, False, False, True, False]
    assert edges[4].tolist() == [False, False, False, False, True]
    assert bool(edges[2, 0] | edges[2, 1])  # 2's nearest are 0 and 1, equally; they would not choose it


def test_a_text_teacher_without_graph_attention_sees_one_text_at_a_time() -> None:
    bags = torch.tensor([[1.0, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 1, 1]])
    single = text_teacher(attend=False)
    assert torch.allclose(single(bags)[:1], single(bags[:1]), atol=1e-6)
    graph = text_teacher(attend=True)
    assert not torch.allclose(graph(bags)[:1], graph(bags[:1]), atol=1e-3)


def test_a_hash_head_by_hand() -> None:
    head = HashHead(2, hidden=2, bits=1, dropout=0.5).eval()
    with torch.no_grad():
        head.first.weight.copy_(torch.tensor([[1.0, 0], [0, -1]]))
        head.first.bias.copy_(torch.tensor([0.5, 0]))
        head.last.weight.copy_(torch.tensor([[2.0, 3]]))
        head.last.bias.copy_(torch.tensor([-1.0]))
        assert head(torch.tensor([[1.0, 2], [-3, -2]])).tolist() == [[2], [5]]  # 2 * 1.5 - 1 and 3 * 2 - 1


def test_a_hash_head_leaves_out_features_in_training_alone() -> None:
    """Here its outputs are the features that it sees, twice as large where half are left out."""
    torch.manual_seed(0)
    head = HashHead(4, hidden=4, bits=4, dropout=0, input_dropout=0.5)
    for layer in (head.first, head.last):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    features = torch.ones(1000, 4)
    seen = head(features)
    assert set(seen.flatten().tolist()) == {0, 2}
    assert seen.mean().item() == pytest.approx(1, abs=0.1)
    assert torch.equal(head.eval()(features), features)


def test_a_standardised_head_sees_features_of_one_scale_and_folds_into_a_plain_one() -> None:
    """The features differ by a factor of 1,000; of those that it is made for, the mean length is 8."""
    torch.manual_seed(0)
    rows = torch.randn(500, 20) * torch.logspace(-2, 1, 20) + 3
    rows[:, 5] = 7.0  # the same in all rows
    head = StandardisedHead(HashHead(20, hidden=6, bits=16, dropout=0.5, input_dropout=0.5), rows).eval()
    seen = (rows - head.mean) * head.scale
    assert (seen**2).sum(dim=1).mean().item() == pytest.approx(64 * 19 / 20, rel=0.01)
    assert np.delete(seen.std(dim=0).numpy(), 5) == pytest.approx(8 / 20**0.5, rel=1e-3)
    before = head.head.first.weight.clone()
    plain = head.folded()
    assert type(plain) is HashHead
    others = rows + torch.eye(20)[5]  # what did not vary in training says nothing
    assert torch.allclose(plain(rows), head(rows), atol=1e-4)
    assert torch.allclose(plain(others), plain(rows), atol=1e-4)
    assert torch.equal(head.head.first.weight, before)  # it can still be trained


def test_without_attention_the_fused_teacher_is_linear() -> None:
    torch.manual_seed(0)
    teacher = FusedTeacher(width=16, bits=24, heads=8, attend=False).eval()
    image, text = torch.randn(3, 16), torch.randn(3, 16)
    outputs, tokens = teacher(image, text)
    assert torch.allclose(outputs, teacher.head(torch.cat([image, text], dim=1)), atol=1e-6)
    assert torch.equal(tokens, torch.stack([image, text], dim=1))
    teacher.attend = True
    assert teacher(image, text)[0].shape == (3, 24)
    assert not torch.allclose(teacher(image, text)[0], outputs, atol=1e-3)
