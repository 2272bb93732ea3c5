"""Architectures of open_clip, with random weights, become hash models that give torch's codes, in an index too.

Of each, only two layers are tried, and only few words: that takes seconds. With HASHCLI_TEST_ARCHITECTURES=full, they
are as large as those that can be downloaded, which takes minutes, and up to 9 GB of memory.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("open_clip", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

import onnx
import open_clip
import timm
import torch
from onnx import TensorProto
from torch.nn import functional

from hashcli import DistanceLimit, open_index
from hashcli.distillation.card import ModelCard
from hashcli.distillation.export import StudentEncoders, export_hash_model
from hashcli.distillation.export_check import bits_equal
from hashcli.distillation.heads import HashLayer
from hashcli.distillation.open_towers import open_teacher
from hashcli.distillation.trainer import HashHeads
from hashcli.hashmodel.codes import pack
from hashcli.index.catalog import Kind
from tests.conftest import PHOTOS, SKIMAGE
from tests.distillation.small_text_towers import SENTENCES, save_sentence_pieces

FULL = os.environ.get("HASHCLI_TEST_ARCHITECTURES") == "full"
BITS = 256
TEXTS = [*PHOTOS.values(), *SENTENCES[::5]]


@pytest.fixture
def architecture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A name that open_clip knows, of which it makes a small model, with a tokenizer that is on disk."""
    name = str(request.param)
    config = open_clip.get_model_config(name)
    text, image = config["text_cfg"], config["vision_cfg"]
    if "hf_tokenizer_name" in text:  # SigLIP's, which is on the hub alone
        words = save_sentence_pieces(tmp_path / "tokenizer")
        text["hf_tokenizer_name"] = str(tmp_path / "tokenizer")
        text["vocab_size"] = text["vocab_size"] if FULL else words
    if not FULL:
        text["layers"] = 2
        if "layers" in image:
            image["layers"] = 2
        create = timm.create_model

        def create_shallow(model_name: str, **options: Any) -> Any:
            return create(model_name, **options, **({"depth": 2} if model_name.startswith("vit_") else {}))

        monkeypatch.setattr(timm, "create_model", create_shallow)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    return name


def centred_layer(features: torch.Tensor) -> HashLayer:
    """A drawn layer whose outputs differ in sign: random towers give nearly the same features for all inputs."""
    torch.manual_seed(1)
    layer = HashLayer(features.shape[1], BITS).eval()
    with torch.no_grad():
        layer.bias.copy_(-layer.weight @ features.mean(0))
    return layer


@pytest.mark.parametrize(
    "architecture", ["MobileCLIP2-S0", "ViT-B-32", "ViT-B-32-SigLIP2-256", "PE-Core-S-16-384"], indirect=True
)
def test_an_architecture_through_export_index_and_search(architecture: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    photos = [str(SKIMAGE / name) for name in PHOTOS]
    image, text = open_teacher(f"{architecture}/random")
    outputs = [output for output in image.encode_images(photos) if isinstance(output, np.ndarray)]
    image_features = functional.normalize(torch.from_numpy(np.stack(outputs)))
    text_features = functional.normalize(torch.from_numpy(text.encode_texts(TEXTS)))
    heads = HashHeads(centred_layer(image_features), centred_layer(text_features))
    with torch.no_grad():
        expected = heads.image(image_features).numpy(), heads.text(text_features).numpy()
    folder = tmp_path / "model"
    card = ModelCard("random", "itq", architecture, [], "# Random\n")
    model = export_hash_model(folder, StudentEncoders(heads, image, text, [], examples=TEXTS), card)

    weights = onnx.load(folder / "text.onnx", load_external_data=False).graph.initializer
    is_int8 = any(one.data_type == TensorProto.INT8 for one in weights)
    assert bits_equal(model.encode_texts(TEXTS), expected[1]) >= (0.98 if is_int8 else 0.999)
    with open_index(tmp_path / "ix", create=True) as index:
        assert index.update(photos, model=folder).added == len(photos)
        ids, codes = index.catalog.codes(Kind.IMAGE)
        items = index.catalog.items(ids.tolist())
        paths = {items[id_].path: code for id_, code in zip(ids.tolist(), codes, strict=True)}
        stored = np.stack([paths[path] for path in photos])
        differing = np.bitwise_count(stored ^ pack(expected[0])).sum()
        assert differing <= 0.001 * expected[0].size
        found = index.search(TEXTS[0], limit=DistanceLimit(), k=len(photos), reranked=0)
        query = pack(model.encode_texts(TEXTS[:1]))
        assert {one.path: one.distance for one in found} == {
            path: int(np.bitwise_count(query[0] ^ code).sum()) for path, code in paths.items()
        }
