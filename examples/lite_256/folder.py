"""The hash model folder: its graphs and weights, and running it."""

from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from lite_256.data import Data, lemmas
from lite_256.hash_layers import ImageHead, TextHead
from lite_256.image_tower import BACKBONE_OUTPUTS, Backbone, Colours, export, open_session, run_images
from lite_256.settings import BITS, MAX_TOKENS, NAME, SIZE
from lite_256.text_tower import TextGraph, load_tokenizer, minilm_folder, run_text
from lite_256.words import word_list

WORD_LIST = "word_list.txt"


def write_folder(images: ImageHead, texts: TextHead, backbone: Path, data: Data, folder: Path) -> None:
    folder.mkdir(parents=True)
    with torch.no_grad():
        outputs = Backbone().eval()(torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8))
    export(Head(images), dict(zip(BACKBONE_OUTPUTS, outputs, strict=True)), ["output"], folder / "head.onnx")
    join_graphs(backbone, folder / "head.onnx", folder / "image.onnx")
    (folder / "head.onnx").unlink()
    graph = TextGraph(load_file(minilm_folder() / "model.safetensors"))
    onnx.save(graph.model(graph.hashed(texts), BITS), folder / "text.onnx")
    tokenizer = load_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    trained = [text for part in data.texts if part not in MEASURED_TEXTS for text in data.texts[part]]
    (folder / WORD_LIST).write_text("".join(f"{word}\n" for word in word_list(trained, lemmas(), tokenizer)))
    save_file(trainable_weights(images, texts), folder / "student.safetensors", {"format": "pt", "model": NAME})
    (folder / "student.safetensors").chmod(0o644)  # the library leaves it readable by its owner alone


class Head(nn.Module):
    """What the backbone gives to the outputs of the hash layer, [n, BITS]."""

    def __init__(self, images: ImageHead) -> None:
        super().__init__()
        self.colours, self.images = Colours(), images

    def forward(self, features: Tensor, seen: Tensor, small: Tensor) -> Tensor:
        outputs: Tensor = self.images(torch.cat([features, self.colours(seen, small)], 1))
        return outputs


def join_graphs(backbone: Path, head: Path, target: Path) -> None:
    first = onnx.load(backbone)
    second = onnx.compose.add_prefix(onnx.load(head), "head.", rename_outputs=False)
    second.ir_version = first.ir_version
    joined = onnx.compose.merge_models(
        first, second, [(name, f"head.{name}") for name in BACKBONE_OUTPUTS], name="image"
    )
    onnx.checker.check_model(joined, full_check=True)
    onnx.save(joined, target)


def trainable_weights(images: ImageHead, texts: TextHead) -> dict[str, Tensor]:
    """Matrices as float16, vectors (among them the batch statistics) as float32.

    ImageNet's classifier and MiniLM are not among them: they stay frozen, and stand in image.onnx and text.onnx.
    """
    net = Backbone().net.state_dict()
    weights = {f"image.backbone.{name}": values for name, values in net.items() if not name.startswith("_fc.")}
    weights = {name: values for name, values in weights.items() if not name.endswith("num_batches_tracked")}
    for name, layer in (("up", images.guesses.up), ("down", images.guesses.down)):
        weights[f"image.{name}.weight"] = (layer.weight * layer.scale).T
        weights[f"image.{name}.bias"] = layer.bias
    weights |= {f"image.hash.{name}": values.detach() for name, values in images.hash.named_parameters()}
    weights |= {f"text.hash.{name}": values.detach() for name, values in texts.hash.named_parameters()}
    weights["text.centre"] = texts.centre
    return {name: (v.half() if v.ndim > 1 else v.float()).contiguous() for name, v in weights.items()}


MEASURED_PHOTOS = ("dev", "held out", "mirflickr")
MEASURED_TEXTS = ("dev", "dev, other colours", "held out", "held out, other colours", "queries")


@dataclass(frozen=True)
class Outputs:
    """What the finished folder gives, by set name, each [n, BITS]."""

    images: dict[str, Tensor]
    texts: dict[str, Tensor]


def run_folder(folder: Path, data: Data) -> Outputs:
    images, texts = open_session(folder / "image.onnx"), open_session(folder / "text.onnx")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    return Outputs(
        {part: torch.from_numpy(run_images(images, data.photos[part])) for part in MEASURED_PHOTOS},
        {part: torch.from_numpy(run_text(texts, tokenizer, data.texts[part])) for part in MEASURED_TEXTS},
    )
