"""ONNX graphs of a hash model: a tower with its output layer, and the layer put on a graph or taken off it.

An output layer (heads.py) gets the tower's features at unit length.
"""

import copy
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.heads import HashHead, HashLayer, OutputLayer
from hashcli.distillation.reparameterise import reparameterised
from hashcli.distillation.stored_graphs import save_graph
from hashcli.errors import HashcliError

if TYPE_CHECKING:
    from hashcli.distillation.token_bag import TokenBag
    from hashcli.distillation.towers import TorchImageTower

OPSET = 17


class _HashedTower(nn.Module):
    """uint8 pixels [n, size, size, 3] to outputs [n, bits]."""

    def __init__(self, tower: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.tower, self.layer = tower, layer

    def forward(self, pixels: Tensor) -> Any:
        return self.layer(functional.normalize(self.tower(pixels)))


def export_image_encoder(tower: "TorchImageTower", layer: OutputLayer, path: Path) -> None:
    """Trace a torch tower with its output layer into a graph from pixels to outputs."""
    pixels = torch.zeros(2, tower.size, tower.size, 3, dtype=torch.uint8)
    save_graph(trace(_HashedTower(reparameterised(tower), layer), {"pixels": (pixels, {0: "n"})}), path)


def trace(module: nn.Module, inputs: dict[str, tuple[Tensor, dict[int, str]]]) -> onnx.ModelProto:
    """The graph of a module, from its inputs by name to `output` [n, width].

    Each input is an example, and the names of those of its dimensions that may have another size.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no operator for it
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer; the exported model is compared with torch in the end
        path = Path(folder) / "traced.onnx"  # with files beside it if it is large
        torch.onnx.export(
            copy.deepcopy(module).cpu().eval(),
            tuple(example for example, _ in inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["output"],
            dynamic_axes={"output": {0: "n"}} | {name: sizes for name, (_, sizes) in inputs.items()},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter needs another package
        )
        torch.backends.mha.set_fastpath_enabled(fast)
        return onnx.load(path)


def append_head(tower: onnx.ModelProto, layer: OutputLayer, path: Path, bag: "TokenBag | None" = None) -> None:
    """Save the graph of `with_output_layer`."""
    save_graph(with_output_layer(tower, layer, bag), path)


def with_output_layer(tower: onnx.ModelProto, layer: OutputLayer, bag: "TokenBag | None" = None) -> onnx.ModelProto:
    """The graph whose outputs, brought to unit length, are fed to the output layer; joined with a bag of words, if one
    is given.
    """
    model = onnx.ModelProto()
    model.CopyFrom(tower)
    prefix = f"head{len(model.graph.node)}_"  # no name of a head that the graph may have already begins so
    _rename_output(model.graph, "output", f"{prefix}tower")
    model.graph.node.append(helper.make_node("LpNormalization", [f"{prefix}tower"], [f"{prefix}unit"], axis=-1, p=2))
    seen = f"{prefix}unit"
    if bag:
        seen = f"{prefix}joined"
        nodes, weights = bag.joined_nodes(f"{prefix}unit", seen, f"{prefix}bag_")
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(weights)
    nodes, weights = _layer_nodes(layer, seen, prefix)
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    _set_output(model.graph, layer.bits)
    return model


def remove_head(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph of what the hash head sees: float32 [n, width] of unit length in place of the head's outputs.

    Raises HashcliError for a graph that does not end with a head as it is written here.
    """
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    name, head = "output", []
    for operator in ("Gemm", "Relu", "Gemm"):
        node = producers.get(name)
        if node is None or node.op_type != operator:
            raise HashcliError("The image encoder does not end with a hash head.", "Train the student again.")
        head.append(node)
        name = node.input[0]
    weights = {weight for node in head for weight in node.input[1:]}
    width = next(one.dims[1] for one in graph.initializer if one.name == head[-1].input[1])  # transB: [hidden, width]
    tower = onnx.ModelProto()
    tower.CopyFrom(model)
    kept_nodes = [node for node in graph.node if node not in head]
    kept_weights = [one for one in graph.initializer if one.name not in weights]
    del tower.graph.node[:], tower.graph.initializer[:]
    tower.graph.node.extend(kept_nodes)
    tower.graph.initializer.extend(kept_weights)
    _rename_output(tower.graph, name, "output")
    _set_output(tower.graph, width)
    return tower


def _rename_output(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a tensor that a node gives and no other node reads."""
    for node in graph.node:
        for i, output in enumerate(node.output):
            if output == old:
                node.output[i] = new


def _set_output(graph: onnx.GraphProto, width: int) -> None:
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", width]))


def enlarge_pixels(model: onnx.ModelProto, size: int, to: int) -> onnx.ModelProto:
    """An image graph for `pixels` uint8 [n, to, to, 3] as one for [n, size, size, 3], which it enlarges bilinearly."""
    smaller = onnx.ModelProto()
    smaller.CopyFrom(model)
    graph = smaller.graph
    for node in graph.node:
        node.input[:] = ["enlarged_pixels" if name == "pixels" else name for name in node.input]
    nodes = [
        helper.make_node("Cast", ["pixels"], ["small_real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["small_real"], ["small_planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Shape", ["small_planes"], ["small_count"], start=0, end=1),
        helper.make_node("Concat", ["small_count", "enlarged_to"], ["enlarged_shape"], axis=0),
        helper.make_node("Resize", ["small_planes", "", "", "enlarged_shape"], ["enlarged_planes"], mode="linear"),
        helper.make_node("Round", ["enlarged_planes"], ["enlarged_whole"]),
        helper.make_node("Cast", ["enlarged_whole"], ["enlarged_bytes"], to=TensorProto.UINT8),
        helper.make_node("Transpose", ["enlarged_bytes"], ["enlarged_pixels"], perm=[0, 2, 3, 1]),
    ]
    others = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *others])
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", size, size, 3]))
    graph.initializer.append(numpy_helper.from_array(np.array([3, to, to], np.int64), "enlarged_to"))
    return smaller


def export_head(head: OutputLayer, path: Path) -> None:
    """A head alone: `features` float32 [n, width], as it sees them, to `output` [n, bits]."""
    nodes, weights = _layer_nodes(head, "features", "head_")
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", None])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", head.bits])]
    graph = helper.make_graph(nodes, "head", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def export_bag(layer: OutputLayer, words: int, path: Path) -> None:
    """Token ids [n, tokens] to a bag of words [n, words], which the layer sees; id 0 is any other word."""
    nodes, weights = _layer_nodes(layer, "bag", "head_")
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["input_ids", "attention_mask"], ["ids"]),  # padding becomes the unknown word
            helper.make_node("Shape", ["ids"], ["shape"]),
            helper.make_node("Slice", ["shape", "zero", "one"], ["n"]),
            helper.make_node("Concat", ["n", "depth"], ["bags_shape"], axis=0),
            helper.make_node("ConstantOfShape", ["bags_shape"], ["empty_bags"]),  # [n, words + 1]
            helper.make_node(
                "ConstantOfShape", ["shape"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))
            ),
            helper.make_node("ScatterElements", ["empty_bags", "ids", "ones"], ["bags"], axis=1),
            helper.make_node("Slice", ["bags", "one", "depth", "one"], ["bag"]),
            *nodes,
        ],
        "text",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", layer.bits])],
        [
            *weights,
            numpy_helper.from_array(np.array([words + 1], np.int64), "depth"),
            numpy_helper.from_array(np.array([0], np.int64), "zero"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _layer_nodes(layer: OutputLayer, source: str, new: str) -> tuple[list[Any], list[Any]]:
    """The layer as ONNX, from `source` to `output`. Names in between begin with `new`."""
    if isinstance(layer, HashHead):
        return _head_nodes(layer, source, new)
    if isinstance(layer, HashLayer):
        return _linear_nodes(layer, source, "output", f"{new}last_")
    first, first_weights = _linear_nodes(layer.whiten, source, f"{new}whitened", f"{new}whiten_")
    unit = helper.make_node("LpNormalization", [f"{new}whitened"], [f"{new}whitened_unit"], axis=-1, p=2)
    last, last_weights = _linear_nodes(layer.last, f"{new}whitened_unit", "output", f"{new}last_")
    return [*first, unit, *last], [*first_weights, *last_weights]


def _linear_nodes(linear: nn.Linear, source: str, target: str, new: str) -> tuple[list[Any], list[Any]]:
    weights = [_weight(linear.weight, f"{new}w"), _weight(linear.bias, f"{new}b")]
    return [helper.make_node("Gemm", [source, f"{new}w", f"{new}b"], [target], transB=1)], weights


def _head_nodes(head: HashHead, source: str, new: str) -> tuple[list[Any], list[Any]]:
    first, last = head.first, head.last
    weights = [
        _weight(value, new + name)
        for name, value in (("w1", first.weight), ("b1", first.bias), ("w2", last.weight), ("b2", last.bias))
    ]
    return [
        helper.make_node("Gemm", [source, f"{new}w1", f"{new}b1"], [f"{new}hidden"], transB=1),
        helper.make_node("Relu", [f"{new}hidden"], [f"{new}active"]),
        helper.make_node("Gemm", [f"{new}active", f"{new}w2", f"{new}b2"], ["output"], transB=1),
    ], weights


def _weight(value: Tensor, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(value.detach().cpu().numpy(), name)
