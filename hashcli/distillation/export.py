"""A trained student as a hash-model folder: ONNX graphs, tokenizer, description and card; student.py adds weights."""

import copy
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.heads import HashHead
from hashcli.distillation.material import Hashers
from hashcli.distillation.towers import HashModelTower, ImageTower, TorchImageTower
from hashcli.errors import HashcliError
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.description import Description, ImageEncoder, ReportedMetric, TextEncoder
from hashcli.hashmodel.model import HashModel

OPSET = 17
TOLERANCE = 1e-4  # between ONNX and torch outputs
BITS_EQUAL = 0.999
MAX_WORDS = 100_000  # of a text that is read as a bag of words: in effect, all
UNKNOWN = "[UNK]"


def export(
    folder: Path,
    hashers: Hashers,
    image_tower: ImageTower,
    text_tower: HashModelTower | None,
    vocabulary: Sequence[str],
    *,
    name: str,
    method: str,
    teacher: str,
    metrics: list[ReportedMetric],
    card: str,
) -> HashModel:
    """Write the hash-model folder. `text_tower` None means that texts are bags of the vocabulary's words."""
    folder.mkdir(parents=True, exist_ok=True)
    bits = hashers.image.bits
    if isinstance(image_tower, TorchImageTower):
        _export_torch(image_tower, hashers.image, folder / "image.onnx")
    elif isinstance(image_tower, HashModelTower):
        source = image_tower.model.folder / image_tower.model.description.image.file
        _append_head(source, hashers.image, folder / "image.onnx")
    else:
        raise TypeError(f"{image_tower} cannot be exported")
    if text_tower:
        told = text_tower.model.description.text
        _append_head(text_tower.model.folder / told.file, hashers.text, folder / "text.onnx")
        shutil.copy(text_tower.model.folder / told.tokenizer, folder / "tokenizer.json")
        max_tokens = told.max_tokens
    else:
        _bag_tokenizer(vocabulary).save(str(folder / "tokenizer.json"))
        _export_bag(hashers.text, len(vocabulary), folder / "text.onnx")
        max_tokens = MAX_WORDS
    (folder / "README.md").write_text(card, encoding="utf-8")
    Description(
        name=name,
        bits=bits,
        method=method,
        teacher=teacher,
        licence="that of the training data and of the towers",
        image=ImageEncoder("image.onnx", image_tower.size, image_tower.resize),
        text=TextEncoder("text.onnx", "tokenizer.json", max_tokens),
        metrics=metrics,
    ).write(folder)
    return HashModel(folder, verify=True)


def check(exported: np.ndarray, trained: np.ndarray, what: str) -> None:
    """Compare outputs [n, bits] of the folder and of torch. Raises HashcliError when they are not the same model."""
    difference = float(np.abs(exported - trained).max())
    bits = np.bitwise_count(pack(exported) ^ pack(trained)).sum() / trained.size
    close = difference <= TOLERANCE * max(1.0, float(np.abs(trained).max()))  # not so where either is no number
    if not close or bits > 1 - BITS_EQUAL:
        raise HashcliError(
            f"The exported {what} encoder differs from the trained one: outputs by up to {difference:.2g}, "
            f"{bits:.2%} of the bits.",
            "This should not happen; the run folder holds the trained weights.",
        )


class _ImageHasher(nn.Module):
    """uint8 pixels [n, size, size, 3] to outputs [n, bits]."""

    def __init__(self, tower: TorchImageTower, head: HashHead) -> None:
        super().__init__()
        self.tower, self.head = tower, head

    def forward(self, pixels: Tensor) -> Any:
        return self.head(functional.normalize(self.tower(pixels)))


def _export_torch(tower: TorchImageTower, head: HashHead, path: Path) -> None:
    pixels = torch.zeros(2, tower.size, tower.size, 3, dtype=torch.uint8)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no such operator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer; what it made is compared with torch in the end
        torch.onnx.export(
            _ImageHasher(copy.deepcopy(tower), copy.deepcopy(head)).cpu().eval(),
            (pixels,),
            str(path),
            input_names=["pixels"],
            output_names=["output"],
            dynamic_axes={"pixels": {0: "n"}, "output": {0: "n"}},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter needs one package more
        )
    torch.backends.mha.set_fastpath_enabled(fast)


def _append_head(source: Path, head: HashHead, path: Path) -> None:
    """A hash model's graph, its outputs brought to unit length and fed to the head."""
    model = onnx.load(source)
    new = f"head{len(model.graph.node)}_"  # not a name of the graph, though it were a student's that has a head already
    for node in model.graph.node:
        for i, output in enumerate(node.output):
            if output == "output":
                node.output[i] = f"{new}tower"
    nodes, weights = _head_nodes(head, f"{new}unit", new)
    model.graph.node.append(helper.make_node("LpNormalization", [f"{new}tower"], [f"{new}unit"], axis=-1, p=2))
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", head.bits]))
    onnx.save(model, path)


def _export_bag(head: HashHead, words: int, path: Path) -> None:
    """Token ids [n, tokens] to a bag of words [n, words], which the head sees; id 0 is any other word."""
    nodes, weights = _head_nodes(head, "bag", "head_")
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
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", head.bits])],
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


def _head_nodes(head: HashHead, source: str, new: str) -> tuple[list[Any], list[Any]]:
    """The head as ONNX: Gemm, Relu, Gemm from `source` to `output`. Names in between begin with `new`."""
    first, last = head.first, head.last
    weights = [
        numpy_helper.from_array(value.detach().cpu().numpy(), new + name)
        for name, value in (("w1", first.weight), ("b1", first.bias), ("w2", last.weight), ("b2", last.bias))
    ]
    return [
        helper.make_node("Gemm", [source, f"{new}w1", f"{new}b1"], [f"{new}hidden"], transB=1),
        helper.make_node("Relu", [f"{new}hidden"], [f"{new}active"]),
        helper.make_node("Gemm", [f"{new}active", f"{new}w2", f"{new}b2"], ["output"], transB=1),
    ], weights


def _bag_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """The word rule of `datasets.vocabulary` for the tokenizers library: its \\w is wider, and its lower case has no
    final sigma."""
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([UNKNOWN, *vocabulary])}, unk_token=UNKNOWN)
    )
    final_sigma = Regex(r"(?<=\p{Cased}\p{Case_Ignorable}{0,9})Σ(?!\p{Case_Ignorable}*\p{Cased})")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(final_sigma, "ς"), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\p{L}\p{N}]+"), behavior="removed", invert=True)
    return tokenizer
