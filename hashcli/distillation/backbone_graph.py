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
    vectors = _first_vectors(model.graph, _values(model, size))
    if not vectors:
        raise HashcliError("The image encoder holds no features of a whole photo.", "Choose another student.")
    backbone = onnx.ModelProto()
    backbone.CopyFrom(model)
    _keep_what_is_needed(backbone.graph, vectors)
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", None])
    backbone.graph.node.append(helper.make_node("Concat", vectors, ["output"], axis=1))
    del backbone.graph.output[:], backbone.graph.value_info[:]
    backbone.graph.output.append(output)
    return backbone


@dataclass(frozen=True)
class _Value:
    """What is known of a tensor: whether it holds one row for each photo, and whether its numbers are float32."""

    is_vector: bool
    is_float: bool
    rank: int


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
    return {
        name: _Value(one.ndim == 2 and len(one) == PHOTOS, one.dtype == np.float32, one.ndim)
        for name, one in zip(names, arrays, strict=True)
    }


def _first_vectors(graph: onnx.GraphProto, values: dict[str, _Value]) -> list[str]:
    """From the output back, the last tensors that are still a float32 vector for each photo, in a fixed order."""
    producers = {name: node for node in graph.node for name in node.output}
    found: dict[str, list[str]] = {}

    def search(name: str) -> list[str]:
        """Where the way back from this vector ends: at the vector itself, or at earlier ones."""
        if name not in found:
            # Numbers of rank 1 or 0 are lengths and shapes.
            inputs = [one for one in producers[name].input if one in values and values[one].rank > 1]
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
