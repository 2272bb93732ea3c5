"""The text half of an open_clip model in a hash model: what it gives is what torch gives."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("open_clip", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

import onnx
import onnxruntime
import torch
from onnx import TensorProto
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional

from hashcli.distillation import text_export
from hashcli.distillation.card import ModelCard
from hashcli.distillation.export import StudentEncoders, export_hash_model
from hashcli.distillation.export_check import bits_equal
from hashcli.distillation.heads import HashHead, HashLayer
from hashcli.distillation.open_towers import open_teacher
from hashcli.distillation.text_export import export_text_encoder, text_encoder
from hashcli.distillation.towers import OpenClipTextTower
from hashcli.distillation.trainer import HashHeads
from hashcli.errors import HashcliError
from tests.distillation.small_text_towers import KINDS, SENTENCES, save_text_model, varied_texts

torch.set_num_threads(1)

BITS = 64
TEXTS = [*SENTENCES[:40], *varied_texts(40)]


def open_text(folder: Path) -> OpenClipTextTower:
    _, text = open_teacher(f"local-dir:{folder}")
    assert isinstance(text, OpenClipTextTower)
    return text


def through(layer: nn.Module, tower: OpenClipTextTower, texts: list[str]) -> np.ndarray:
    """float32 [n, bits] as torch computes them."""
    with torch.inference_mode():
        return layer(functional.normalize(torch.from_numpy(tower.encode_texts(texts)))).numpy()  # type: ignore[no-any-return]


def drawn_layer(tower: OpenClipTextTower) -> HashLayer:
    """A linear layer that gives the texts different codes."""
    torch.manual_seed(1)
    layer = HashLayer(tower.width, BITS)
    with torch.no_grad():
        layer.weight.mul_(10)
        mean = functional.normalize(torch.from_numpy(tower.encode_texts(TEXTS))).mean(0)
        layer.bias.copy_(-layer.weight @ mean)
    return layer


def run(folder: Path, texts: list[str]) -> np.ndarray:
    """float32 [n, bits] from the two files, read as a hash model reads them."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = tokenizer.encode_batch(texts)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(folder / "text.onnx"), options, providers=["CPUExecutionProvider"])
    masks = np.array([row.attention_mask for row in rows], np.int64)
    inputs = {"input_ids": np.array([row.ids for row in rows], np.int64), "attention_mask": masks}
    return session.run(["output"], inputs)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hash_model_gives_what_torch_gives(kind: str, tmp_path: Path) -> None:
    """For a text among others, alone, and longer than the context."""
    folder = save_text_model(kind, tmp_path / "clip")
    image, text = open_teacher(f"local-dir:{folder}")
    assert isinstance(text, OpenClipTextTower)
    torch.manual_seed(3)
    heads = HashHeads(*(HashHead(32, 32, BITS, 0.5).eval() for _ in range(2)))
    with torch.no_grad():
        heads.text.first.weight.mul_(5)
        heads.text.last.weight.mul_(5)
    student = StudentEncoders(heads, image, text, [])  # without example texts: the weights stay as they are
    model = export_hash_model(tmp_path / "student", student, ModelCard("student", "soda", "none", [], "# A student\n"))
    expected = through(heads.text, text, TEXTS)
    assert expected.std(axis=0).mean() > 0.03
    given = model.encode_texts(TEXTS)
    assert given == pytest.approx(expected, abs=1e-4)
    assert bits_equal(given, expected) >= 0.999
    alone = np.concatenate([model.encode_texts([one]) for one in TEXTS])
    assert alone == pytest.approx(expected, abs=1e-4)
    assert bits_equal(alone, given) >= 0.999
    long = "a dog runs on a beach " * 20
    assert model.description.text.max_tokens == 16
    assert model.encode_texts([long]) == pytest.approx(model.encode_texts([long + "with two old cats"]), abs=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip", "bert mean"])
def test_a_linear_output_layer(kind: str, tmp_path: Path) -> None:
    tower = open_text(save_text_model(kind, tmp_path / "clip"))
    layer = drawn_layer(tower)
    stored = export_text_encoder(tower, layer, tmp_path, [])
    assert not stored.int8
    assert run(tmp_path, TEXTS) == pytest.approx(through(layer, tower, TEXTS), abs=1e-4)


def test_the_padding_that_a_text_encoder_reads_is_kept(tmp_path: Path) -> None:
    """SigLIP reads every place of its context; CLIP needs no more tokens than a text has."""
    for kind, full_length in (("siglip", True), ("mobileclip", True), ("clip", False), ("bert mean", False)):
        tower = open_text(save_text_model(kind, tmp_path / kind))
        assert text_encoder(tower).full_length == full_length
        export_text_encoder(tower, drawn_layer(tower), tmp_path, [])
        row = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("a dog")
        assert (len(row.ids) == 16) == full_length


def test_int8_weights_keep_nearly_all_bits_and_are_refused_where_they_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = open_text(save_text_model("clip", tmp_path / "clip"))
    layer = drawn_layer(tower)
    sizes = {}
    for wanted in (0.98, 1.1):
        monkeypatch.setattr(text_export, "INT8_BITS_EQUAL", wanted)
        stored = export_text_encoder(tower, layer, tmp_path, TEXTS)
        assert stored.int8 == (wanted < 1)
        assert 0.98 <= stored.bits_equal < 1
        weights = onnx.load(tmp_path / "text.onnx").graph.initializer
        assert any(one.data_type == TensorProto.INT8 for one in weights) == stored.int8
        sizes[stored.int8] = (tmp_path / "text.onnx").stat().st_size
        assert bits_equal(run(tmp_path, TEXTS), through(layer, tower, TEXTS)) >= (0.98 if stored.int8 else 0.999)
    assert sizes[True] < 0.4 * sizes[False]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "text.onnx", "tokenizer.json"]


def test_an_encoder_that_gives_other_outputs_than_torch_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = open_text(save_text_model("clip", tmp_path / "clip"))
    layer = drawn_layer(tower)
    encode = tower.encode_texts
    monkeypatch.setattr(tower, "encode_texts", lambda texts: encode(["another text"] * len(texts)))
    with pytest.raises(HashcliError, match="The exported text encoder differs from the trained one"):
        export_text_encoder(tower, layer, tmp_path, TEXTS)


def test_a_text_encoder_with_a_class_token_is_refused(tmp_path: Path) -> None:
    """CoCa's."""
    tower = open_text(save_text_model("mobileclip", tmp_path / "clip"))
    tower.model.text.cls_emb = nn.Parameter(torch.zeros(32))
    with pytest.raises(HashcliError, match="reads texts with a TextTransformer, which hashcli cannot put into"):
        export_text_encoder(tower, HashLayer(32, BITS), tmp_path, [])
