"""The backbone is cut out of a hash model's image graph, however its head is built."""

from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.backbone_graph import backbone_of, layers_of
from hashcli.distillation.onnx_graphs import trace
from hashcli.distillation.stored_graphs import open_session
from hashcli.distillation.towers import BackboneTower
from hashcli.errors import HashcliError

torch.set_num_threads(1)
SIZE = 16


class TwoLevels(nn.Module):
    """Means of two levels, with a gate that reads the whole picture in between, and a head that normalises."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 12, 3, 2)
        self.gate, self.hidden, self.hash = nn.Linear(8, 8), nn.Linear(20, 6), nn.Linear(6, 16)

    def features(self, pixels: Tensor) -> Tensor:
        low = self.first(pixels.permute(0, 3, 1, 2).float() / 255).relu()
        gated = low * self.gate(low.mean((2, 3))).sigmoid()[:, :, None, None]
        high = self.second(gated).relu()
        return torch.cat([high.mean((2, 3)), gated.mean((2, 3))], 1)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = self.hidden(functional.normalize(self.features(pixels))).relu()
        return self.hash(hidden / hidden.norm(dim=1, keepdim=True).clamp(min=1e-6))


class Tokens(nn.Module):
    """A small transformer that reads patches, and gives its first token to the head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.mix, self.project, self.hash = nn.Linear(8, 8), nn.Linear(8, 5), nn.Linear(5, 16)

    def features(self, pixels: Tensor) -> Tensor:
        tokens = self.patches(pixels.permute(0, 3, 1, 2).float() / 255).flatten(2).transpose(1, 2)
        tokens = tokens + (tokens @ tokens.transpose(1, 2)).softmax(2) @ self.mix(tokens)
        return tokens[:, 0]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.hash(functional.normalize(self.project(self.features(pixels))))


@pytest.mark.parametrize("model", [TwoLevels(), Tokens()])
def test_the_head_is_cut_off_and_its_weights_are_dropped(model: TwoLevels | Tokens) -> None:
    pixels = torch.randint(0, 256, (3, SIZE, SIZE, 3), dtype=torch.uint8)
    graph = trace(model, {"pixels": (pixels[:2], {0: "n"})})
    backbone = backbone_of(graph, SIZE)
    (given,) = open_session(backbone).run(["output"], {"pixels": pixels.numpy()})
    with torch.no_grad():
        expected = model.features(pixels).numpy()
    # Which of two levels comes first is the graph's affair.
    order = [np.abs(given - column[:, None]).max(axis=0).argmin() for column in expected.T]
    assert given[:, order] == pytest.approx(expected, abs=1e-5)
    assert given.shape == expected.shape
    assert len(backbone.graph.initializer) < len(graph.graph.initializer)
    assert len(graph.graph.output) == 1  # the graph itself is as it was
    onnx.checker.check_model(backbone)


def test_a_graph_without_a_vector_for_each_photo_is_refused() -> None:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["output"], axes=[3], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIZE, SIZE, 3])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", SIZE, SIZE])]
    graph = helper.make_graph(nodes, "places", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(HashcliError, match="no features of a whole photo"):
        backbone_of(model, SIZE)


def test_the_backbone_of_lite_256() -> None:
    """Its features of the last layer and of one in the middle, without the large parts of its head."""
    tower = BackboneTower("lite-256")
    assert tower.width == 1280 + 112 + 3 * 64
    assert BackboneTower("lite-256", layers=True).width == tower.width + 1280 + 112 + 768 + 24 + 40 + 192
    assert len(tower.graph.SerializeToString()) < 4_500_000


class Residual(nn.Module):
    """Two residual sums at one resolution, and one at the next."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.again, self.high = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 6, 3, 2, 1)
        self.last, self.hidden, self.hash = nn.Conv2d(6, 6, 1), nn.Linear(6, 5), nn.Linear(5, 16)

    def layers(self, pixels: Tensor) -> list[Tensor]:
        low = self.low(pixels.permute(0, 3, 1, 2).float() / 255).relu()
        low = low + self.again(low)
        low = low + self.again(low)
        high = self.high(low)
        high = high + self.last(high)
        top = high.relu()
        hidden = self.hidden(top.mean((2, 3))).relu()
        return [top.mean((2, 3)), top.amax((2, 3)), low.mean((2, 3)), high.mean((2, 3)), hidden]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.hash(self.layers(pixels)[-1])


def test_the_features_of_several_layers() -> None:
    """Means and maxima of the last map, means of the last sum at each resolution, and what the last layer reads."""
    torch.manual_seed(0)
    model, pixels = Residual(), torch.randint(0, 256, (3, SIZE, SIZE, 3), dtype=torch.uint8)
    graph = layers_of(trace(model, {"pixels": (pixels[:2], {0: "n"})}), SIZE)
    (given,) = open_session(graph).run(["output"], {"pixels": pixels.numpy()})
    with torch.no_grad():
        # A sum with the shape of the last map would say the same as its mean.
        parts = [functional.normalize(part) for i, part in enumerate(model.layers(pixels)) if i != 3]
    assert given == pytest.approx(torch.cat(parts, 1).numpy(), abs=1e-5)
    onnx.checker.check_model(graph)


def test_a_model_without_a_backbone_is_its_pixels(tiny_model: Path) -> None:
    assert BackboneTower(str(tiny_model)).width == 8 * 8 * 3
