"""The backbone in a hash model's image graph: all that comes before the layers that read a photo as one vector.

A student that is built on a hash model learns from these features. The model's own outputs would be too few: they are
made to be rounded to bits.
"""

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from hashcli.distillation.stored_graphs import open_session
from hashcli.errors import HashcliError

PHOTOS = 2  # in the batch by which a photo's vector is told from a vector for each of its places


def backbone_of(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """An image graph, from `pixels` uint8 [n, size, size, 3] on, with the backbone's features as its `output`.

    The features, float32 [n, width], are the vectors nearest to the pixels that hold one row for each photo, such as
    the means over the picture that pooling gives. Where there are several, they are joined. Raises HashcliError for a
    graph that has none.
    """
    backbone, vectors, _ = _with_first_vectors(model, size)
    return _with_output(backbone, vectors)


def layers_of(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """The same graph with the features of several layers, each brought to unit length and joined.

    They are the backbone's features; the maxima over the picture where a feature is a mean; the means of a
    convolutional network's last residual sum at each resolution; and what the model's last layer reads.
    """
    layers, vectors, values = _with_first_vectors(model, size)
    graph = layers.graph
    producers = {name: node for node in graph.node for name in node.output}
    maps = [producers[name].input[0] for name in vectors]
    pooled = [name for name in dict.fromkeys(maps) if values[name].is_map]
    known = {values[name].shape for name in pooled}  # a sum of this shape has been pooled already
    sums: dict[tuple[int, ...], str] = {}
    for node in graph.node:
        if node.op_type == "Add" and all(name in values and values[name].is_map for name in node.input):
            sums[values[node.output[0]].shape[2:]] = node.output[0]
    unpooled = [name for name in sums.values() if values[name].shape not in known]
    found = [*vectors]
    for operator, names in (("GlobalMaxPool", pooled), ("GlobalAveragePool", unpooled)):
        for name in names:
            found.append(f"{operator}_of_{name}")
            graph.node.append(helper.make_node(operator, [name], [f"{found[-1]}_map"]))
            graph.node.append(helper.make_node("Flatten", [f"{found[-1]}_map"], [found[-1]]))
    found += [name for name in producers["output"].input if name in values and values[name].is_vector]
    units = []
    for name in dict.fromkeys(found):
        units.append(f"{name}_unit")
        graph.node.append(helper.make_node("LpNormalization", [name], [units[-1]], axis=-1, p=2))
    return _with_output(layers, units)


def _with_first_vectors(model: onnx.ModelProto, size: int) -> tuple[onnx.ModelProto, list[str], dict[str, "_Value"]]:
    """A copy of the graph, the names of its first vectors, and what is known of all its tensors."""
    values = _values(model, size)
    vectors = _first_vectors(model.graph, values)
    if not vectors:
        raise HashcliError("The image encoder holds no features of a whole photo.", "Choose another student.")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy, vectors, values


def _with_output(model: onnx.ModelProto, vectors: list[str]) -> onnx.ModelProto:
    """The graph with these vectors, joined, as its `output`, and without what they do not need."""
    graph = model.graph
    for node in graph.node:  # the model's own output may be needed under another name
        node.output[:] = [f"former_{name}" if name == "output" else name for name in node.output]
    _keep_what_is_needed(graph, vectors)
    graph.node.append(helper.make_node("Concat", vectors, ["output"], axis=1))
    del graph.output[:], graph.value_info[:]
    graph.output.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", None]))
    return model


@dataclass(frozen=True)
class _Value:
    """What is known of a tensor: its shape for PHOTOS photos, and whether its numbers are float32."""

    shape: tuple[int, ...]
    is_float: bool

    @property
    def is_vector(self) -> bool:
        """Whether it holds one row for each photo."""
        return len(self.shape) == 2 and self.shape[0] == PHOTOS

    @property
    def is_map(self) -> bool:
        """Whether it holds channels by rows by columns for each photo."""
        return len(self.shape) == 4 and self.shape[0] == PHOTOS and self.is_float


def _values(model: onnx.ModelProto, size: int) -> dict[str, _Value]:
    """All tensors that are computed from the pixels, by name."""
    names, reached = [], {"pixels"}
    for node in model.graph.node:  # in the order in which they are computed
        if reached.intersection(node.input):
            names += [name for name in node.output if name]
            reached.update(node.output)
    every = onnx.ModelProto()
    every.CopyFrom(model)
    del every.graph.output[:]
    every.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(every, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    arrays = session.run(names, {"pixels": np.zeros((PHOTOS, size, size, 3), np.uint8)})
    return {name: _Value(one.shape, one.dtype == np.float32) for name, one in zip(names, arrays, strict=True)}


def _first_vectors(graph: onnx.GraphProto, values: dict[str, _Value]) -> list[str]:
    """From the output back, the last tensors that are still a float32 vector for each photo, in a fixed order."""
    producers = {name: node for node in graph.node for name in node.output}
    found: dict[str, list[str]] = {}

    def search(name: str) -> list[str]:
        """Where the way back from this vector ends: at the vector itself, or at earlier ones."""
        if name not in found:
            # Numbers of rank 1 or 0 are lengths and shapes.
            inputs = [one for one in producers[name].input if one in values and len(values[one].shape) > 1]
            earlier = [first for one in inputs if values[one].is_vector for first in search(one)]
            is_first = not all(values[one].is_vector for one in inputs) or not all(values[e].is_float for e in earlier)
            found[name] = [name] if is_first else list(dict.fromkeys(earlier))
        return found[name]

    return [name for name in search("output") if values[name].is_float] if values["output"].is_vector else []


def _keep_what_is_needed(graph: onnx.GraphProto, outputs: list[str]) -> None:
    """Remove the nodes and the weights that these tensors do not depend on."""
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    weights = [one for one in graph.initializer if one.name in needed]
    nodes.reverse()
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
