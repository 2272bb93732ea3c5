"""ONNX graphs as a hash model stores them: optimised, with int8 weights, and large weights in a file beside the graph.

A text query loads its graph without optimising it, which would take longer than the query itself.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from hashcli.hashmodel.description import external_data

LARGE = 1 << 30  # bytes of weights: protobuf ends at 2 GiB, and a file of half that is slow to parse
QUANTISED = 1 << 16  # weights of a matrix from which int8 is worth its two more nodes


def save_graph(model: onnx.ModelProto, path: Path, large: int = LARGE) -> None:
    """Write a graph; weights of more than `large` bytes in all go to the file `external_data(path)` beside it.

    The model's weights are moved out of it in that case: it should not be used afterwards.
    """
    data = external_data(path)
    data.unlink(missing_ok=True)
    if sum(len(weight.raw_data) for weight in model.graph.initializer) <= large:
        onnx.save(model, path)
    else:
        onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=1024)
        data.chmod(0o644)  # the library leaves it readable by its owner alone


def open_session(
    model: onnx.ModelProto,
    level: onnxruntime.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
) -> onnxruntime.InferenceSession:
    """Run a graph that is in memory, of less than 2 GiB, as protobuf needs it."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def optimise(model: onnx.ModelProto, large: int = LARGE) -> onnx.ModelProto:
    """The same function as onnxruntime computes it: constants folded, and operators fused that run on every CPU.

    Layouts that suit this machine's CPU alone are left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, optimised = Path(folder) / "source.onnx", Path(folder) / "optimised.onnx"
        save_graph(model, source, large)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimised)
        if external_data(source).exists():
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", external_data(optimised).name
            )
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        result = onnx.load(optimised)
    used = {node.domain for node in result.graph.node}
    domains = [one for one in result.opset_import if one.domain in used | {""}]
    del result.opset_import[:]  # it lists every domain that this onnxruntime knows, and an older one does not
    result.opset_import.extend(domains)
    return result


def with_int8_weights(model: onnx.ModelProto, smallest: int = QUANTISED) -> onnx.ModelProto:
    """The graph with its matrices of `smallest` weights or more rounded to int8; the arithmetic stays float32.

    An embedding has a scale for each row, the matrix of a product one for each column. That is applied to the result,
    which is far smaller than the matrix.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    rounding = _Rounding(result.graph, smallest)
    nodes = [new for node in result.graph.node for new in rounding.rewrite(node)]
    weights = [one for one in result.graph.initializer if one.name not in rounding.replaced]
    del result.graph.node[:], result.graph.initializer[:]
    # Of the nodes that are ready, onnxruntime runs the last ones first: a cast that stands at the beginning runs right
    # before its product, so that all casts share the memory of one.
    result.graph.node.extend([*rounding.casts, *nodes])
    result.graph.initializer.extend([*weights, *rounding.weights])
    return result


class _Rounding:
    """Rewrites the nodes of a graph that multiply by a large matrix or look up rows of one."""

    def __init__(self, graph: onnx.GraphProto, smallest: int) -> None:
        users: dict[str, int] = {}
        for node in graph.node:
            for name in node.input:
                users[name] = users.get(name, 0) + 1
        self._matrices = {
            one.name: one
            for one in graph.initializer
            if one.data_type == TensorProto.FLOAT
            and len(one.dims) == 2
            and np.prod(one.dims) >= smallest
            and users.get(one.name) == 1
        }
        self.casts: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.replaced: set[str] = set()

    def rewrite(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The node, or those that compute the same with int8 weights."""
        if node.op_type == "Gather" and node.input[0] in self._matrices and _attribute(node, "axis", 0) == 0:
            return self._lookup(node)
        if node.op_type == "MatMul" and node.input[1] in self._matrices:
            return self._product(node, self._matrix(node.input[1]))
        plain = all(_attribute(node, name, 1.0) == 1.0 for name in ("alpha", "beta")) and not _attribute(
            node, "transA", 0
        )
        if node.op_type == "Gemm" and node.input[1] in self._matrices and plain:
            matrix = self._matrix(node.input[1])
            return self._product(node, matrix.T if _attribute(node, "transB", 0) else matrix)
        return [node]

    def _matrix(self, name: str) -> npt.NDArray[np.float32]:
        return np.asarray(numpy_helper.to_array(self._matrices[name]))

    def _lookup(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        table, rows = node.input
        rounded, scale = self._store(table, self._matrix(table), axis=1)
        out = node.output[0]
        return [
            helper.make_node("Gather", [rounded, rows], [f"{out}.int8"]),
            helper.make_node("Cast", [f"{out}.int8"], [f"{out}.rounded"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [scale, rows], [f"{out}.scale"]),
            helper.make_node("Mul", [f"{out}.rounded", f"{out}.scale"], [out]),
        ]

    def _product(self, node: onnx.NodeProto, matrix: npt.NDArray[np.float32]) -> list[onnx.NodeProto]:
        rounded, scale = self._store(node.input[1], matrix, axis=0)
        self.casts.append(helper.make_node("Cast", [rounded], [f"{rounded}.float"], to=TensorProto.FLOAT))
        out, bias = node.output[0], node.input[2:3]
        scaled = f"{out}.scaled" if bias else out
        nodes = [
            helper.make_node("MatMul", [node.input[0], f"{rounded}.float"], [f"{out}.product"]),
            helper.make_node("Mul", [f"{out}.product", scale], [scaled]),
        ]
        return [*nodes, helper.make_node("Add", [scaled, *bias], [out])] if bias else nodes

    def _store(self, name: str, matrix: npt.NDArray[np.float32], axis: int) -> tuple[str, str]:
        """Names of the int8 matrix and of its scales along the other axis: matrix ~ int8 * scale."""
        largest = np.abs(matrix).max(axis, keepdims=True)
        scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)
        rounded = (matrix / scale).round().astype(np.int8)
        self.replaced.add(name)
        for part, values in ((f"{name}.int8", rounded), (f"{name}.scale", scale if axis else scale[0])):
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), part))
        return f"{name}.int8", f"{name}.scale"


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)
