"""Graphs as they are stored: optimised, with int8 weights, with large weights in a file of their own."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from hashcli.distillation.stored_graphs import optimise, save_graph, with_int8_weights
from hashcli.errors import HashcliError
from hashcli.hashmodel import description
from hashcli.hashmodel.model import HashModel
from tests.conftest import make_tiny_model


def small_graph() -> onnx.ModelProto:
    """Ids [n, tokens] to rows of a table, through three products of every kind, to `output` [n * tokens, 5]."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "first"], ["wide"]),
        helper.make_node("Reshape", ["wide", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "second", "bias"], ["mixed"], transB=1),
        helper.make_node("Gemm", ["mixed", "third"], ["kept"]),
        helper.make_node("Gemm", ["kept", "third"], ["output"], alpha=0.5),
    ]
    weights = [weight("table", 50, 8), weight("first", 8, 12), weight("second", 5, 12), weight("bias", 5)]
    weights += [weight("third", 5, 5), numpy_helper.from_array(np.array([-1, 12], np.int64), "shape")]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "tokens"])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["all", 5])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["output"], {"ids": np.arange(40).reshape(4, 10)})[0]  # type: ignore[no-any-return]


def test_int8_weights_give_nearly_the_same(tmp_path: Path) -> None:
    graph = small_graph()
    save_graph(graph, tmp_path / "exact.onnx")
    rounded = with_int8_weights(graph, smallest=30)
    save_graph(rounded, tmp_path / "rounded.onnx")
    exact, near = run(tmp_path / "exact.onnx"), run(tmp_path / "rounded.onnx")
    assert 0 < np.abs(near - exact).max() < 0.03 * np.abs(exact).max()
    kinds = {one.name: one.data_type for one in rounded.graph.initializer}
    assert sorted(name for name, kind in kinds.items() if kind == TensorProto.INT8) == [
        "first.int8",
        "second.int8",
        "table.int8",
    ]
    assert kinds["third"] == TensorProto.FLOAT  # small, and used twice


def test_a_graph_that_is_optimised_gives_the_same_and_names_no_domain_it_does_not_use(tmp_path: Path) -> None:
    graph = small_graph()
    save_graph(graph, tmp_path / "exact.onnx")
    optimised = optimise(graph)
    save_graph(optimised, tmp_path / "optimised.onnx")
    assert run(tmp_path / "optimised.onnx") == pytest.approx(run(tmp_path / "exact.onnx"), rel=1e-5)
    assert {one.domain for one in optimised.opset_import} <= {node.domain for node in optimised.graph.node} | {""}


def test_weights_beside_the_graph_are_optimised_and_read_again(tmp_path: Path) -> None:
    graph = small_graph()
    save_graph(graph, tmp_path / "exact.onnx")
    expected = run(tmp_path / "exact.onnx")
    save_graph(optimise(small_graph(), large=100), tmp_path / "large.onnx", large=100)
    assert run(tmp_path / "large.onnx") == pytest.approx(expected, rel=1e-5)
    assert (tmp_path / "large.onnx.data").stat().st_mode & 0o777 == 0o644
    save_graph(small_graph(), tmp_path / "large.onnx")
    assert not (tmp_path / "large.onnx.data").exists()
    assert np.array_equal(run(tmp_path / "large.onnx"), expected)


def test_a_hash_model_whose_weights_are_beside_its_graph(tmp_path: Path) -> None:
    """They count in its fingerprint, and damage to them is found."""
    folder = make_tiny_model(tmp_path / "tiny", seed=0)
    before = HashModel(folder, verify=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    expected = before.encode_pixels(pixels)
    save_graph(onnx.load(folder / "image.onnx"), folder / "image.onnx", large=100)
    before.description.write(folder)
    after = HashModel(folder, verify=True)
    assert list(after.description.files) == ["image.onnx", "text.onnx", "tokenizer.json", "image.onnx.data"]
    assert after.description.encoder_files() == list(after.description.files)
    assert np.array_equal(after.encode_pixels(pixels), expected)
    assert after.fingerprint != before.fingerprint
    data = folder / "image.onnx.data"
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(HashcliError, match=r"image.onnx.data is damaged"):
        HashModel(folder, verify=True)
    assert description.read(folder).fingerprint == after.fingerprint
