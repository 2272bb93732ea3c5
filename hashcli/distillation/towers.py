"""Towers: the frozen encoders through which teachers and students see photos and texts. open_towers.py opens them."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.distillation.backbone_graph import backbone_of, layers_of
from hashcli.distillation.onnx_graphs import enlarge_pixels, remove_head
from hashcli.distillation.stored_graphs import open_session
from hashcli.errors import HashcliError
from hashcli.hashmodel.description import ImageEncoder, Interpolation, Resize
from hashcli.hashmodel.images import load_pixels
from hashcli.hashmodel.model import IMAGE_BATCH, HashModel
from hashcli.hashmodel.prefetch import batched, prefetch
from hashcli.hashmodel.registry import find_model

TEXT_BATCH = 64
OUTPUTS = "hashmodel-"  # what the key of a hash model's outputs begins with

Precision = Literal["float32", "bfloat16"]


class ImageTower(Protocol):
    """Encodes photos, which `resize` brings to `size` x `size` pixels, as `width` features each.

    Towers with the same `key` give the same features.
    """

    key: str
    width: int
    size: int
    resize: Resize
    interpolation: Interpolation

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        """float32 [width] for each photo in order, or the reason why it cannot be encoded."""


class TextTower(Protocol):
    """Encodes texts as `width` features each. Towers with the same `key` give the same features."""

    key: str
    width: int

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, width]."""


class HashModelTower:
    """Both towers of a hash model: its float outputs before the sign."""

    def __init__(self, name: str) -> None:
        self.model = HashModel(find_model(name), verify=True)
        self.key = f"{OUTPUTS}{self.model.fingerprint}"
        self.width = self.model.bits
        self.size = self.model.description.image.size
        self.resize = self.model.description.image.resize
        self.interpolation = self.model.description.image.interpolation

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        return (result for _, result in self.model.encode_image_files(paths))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.model.encode_texts(texts)


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes an encoder's input: `resize` to `size` x `size`, then (RGB in 0 to 1 - mean) / std."""

    size: int
    mean: Sequence[float]
    std: Sequence[float]
    resize: Resize = "crop"
    interpolation: Interpolation = "bicubic"


class TorchImageTower(nn.Module):
    """A torch image encoder that takes the same uint8 pixels as a hash model, so that it can be exported as one.

    `size` is that of the photos, and `input_size` that of the encoder: smaller photos are enlarged.
    """

    def __init__(
        self, key: str, encoder: nn.Module, preprocessing: Preprocessing, precision: Precision = "float32"
    ) -> None:
        super().__init__()
        self.key = key if precision == "float32" else f"{key}-{precision}"  # another precision gives other features
        self.size = self.input_size = size = preprocessing.size
        self.resize: Resize = preprocessing.resize
        self.interpolation: Interpolation = preprocessing.interpolation
        self.precision = precision
        self.encoder = encoder
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255)
        self.eval()
        with torch.inference_mode():
            self.width = int(self(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[1])

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, size, size, 3] RGB to features [n, width]."""
        photos = pixels.permute(0, 3, 1, 2).float()
        if self.size != self.input_size:
            photos = functional.interpolate(photos, (self.input_size, self.input_size), mode="bilinear")
        return cast(Tensor, self.encoder((photos - self.mean) / self.std))

    def at_size(self, size: int) -> "TorchImageTower":
        """A copy for photos of fewer pixels."""
        smaller = copy.deepcopy(self)
        smaller.key, smaller.size = f"{self.key}-at-{size}", size
        return smaller

    def arithmetic(self) -> torch.autocast:
        """A context that computes in the tower's precision."""
        return _arithmetic(self.mean.device, self.precision)

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        def encode(pixels: np.ndarray) -> np.ndarray:
            with torch.inference_mode(), self.arithmetic():
                return cast(np.ndarray, self(torch.from_numpy(pixels).to(self.mean.device)).float().cpu().numpy())

        return _encode_files(paths, self, encode)


class GraphTower:
    """An image tower as an ONNX graph, from `pixels` to its features as `output`."""

    def __init__(self, key: str, graph: onnx.ModelProto, preprocessing: ImageEncoder) -> None:
        self.key = key
        self.size = preprocessing.size
        self.resize: Resize = preprocessing.resize
        self.interpolation: Interpolation = preprocessing.interpolation
        self.graph = graph
        self._session = open_session(graph)
        self.width = self._encode(np.zeros((1, self.size, self.size, 3), np.uint8)).shape[1]

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        return _encode_files(paths, self, self._encode)

    def at_size(self, size: int) -> "GraphTower":
        """The same for photos of fewer pixels, which the graph enlarges."""
        graph = enlarge_pixels(self.graph, size, self.size)
        return GraphTower(f"{self.key}-at-{size}", graph, ImageEncoder("", size, self.resize, self.interpolation))

    def _encode(self, pixels: np.ndarray) -> np.ndarray:
        (features,) = self._session.run(["output"], {"pixels": pixels})
        return np.asarray(features)


class ExportedTower(GraphTower):
    """The image tower inside a hash model that was trained here: its graph without the hash head.

    The features are of unit length. A student's tuned tower is kept nowhere else, so an update takes it from here.
    `key` is the key of the tower that was exported.
    """

    def __init__(self, folder: Path, key: str) -> None:
        image = HashModel(folder, verify=True).description.image
        super().__init__(key, remove_head(onnx.load(folder / image.file)), image)


class BackboneTower(GraphTower):
    """The backbone of any hash model: its image graph without the layers that read a photo as one vector.

    With `layers`, its features are of several layers (backbone_graph.layers_of).
    """

    def __init__(self, name: str, *, layers: bool = False) -> None:
        model = HashModel(find_model(name), verify=True)
        image = model.description.image
        cut, kind = (layers_of, "layers") if layers else (backbone_of, "backbone")
        super().__init__(f"{kind}-{model.fingerprint}", cut(onnx.load(model.folder / image.file), image.size), image)


def at_student_size(tower: ImageTower, size: int) -> ImageTower:
    """A student's tower for photos that are first reduced to `size` pixels, and then enlarged to what it takes.

    Raises HashcliError for a tower that takes fewer, or none.
    """
    if not isinstance(tower, TorchImageTower | GraphTower):
        raise HashcliError("student_size: vectors in files have no pixels.", "Leave student_size out.")
    if size > tower.size:
        raise HashcliError(
            f"student_size: the student takes photos of {tower.size} pixels, which is less than {size}.",
            "Choose a smaller student_size, or leave it out.",
        )
    return tower if size == tower.size else tower.at_size(size)


@dataclass
class OpenClipTextTower:
    """open_clip's text encoder."""

    key: str
    width: int
    model: Any
    tokenizer: Any
    precision: Precision

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        device = next(self.model.parameters()).device
        with torch.inference_mode(), _arithmetic(device, self.precision):
            batches = [
                self.model.encode_text(self.tokenizer(batch).to(device)).float().cpu().numpy()
                for batch in batched(texts, TEXT_BATCH)
            ]
        return np.concatenate([np.empty((0, self.width), np.float32), *batches])


def _arithmetic(device: torch.device, precision: Precision) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def tower_pixels(tower: ImageTower, path: str | Path) -> np.ndarray:
    """A photo as the tower reads it: uint8 [size, size, 3] RGB."""
    return load_pixels(path, tower.size, tower.resize, tower.interpolation)


def _encode_files(
    paths: Iterable[str], tower: ImageTower, encode: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray | Exception]:
    """Load photos ahead of the encoder, which takes uint8 [n, size, size, 3] to float32 [n, width]."""
    loaded = prefetch(partial(tower_pixels, tower), paths, look_ahead=2 * IMAGE_BATCH)
    for batch in batched(loaded, IMAGE_BATCH):
        pixels = [result for _, result in batch if isinstance(result, np.ndarray)]
        features = iter(encode(np.stack(pixels)) if pixels else [])
        for _, result in batch:
            yield result if isinstance(result, Exception) else next(features)
