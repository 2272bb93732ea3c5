"""Frozen encoders: what teachers and students see of photos and texts, computed once and kept.

A tower is named on the command line by
    NAME or FOLDER              a hash model, by its float outputs: needs no network
    ARCH/PRETRAINED             open_clip, for instance ViT-B-32/datacomp_xl_s13b_b90k; downloaded once by open_clip
    local-dir:FOLDER            open_clip, from a folder
    timm:NAME                   a timm image backbone (students only)
and `random` in place of PRETRAINED, or after timm:NAME/, leaves the weights untrained, for tests and ablations.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from hashcli.errors import HashcliError
from hashcli.hashmodel.ahead import in_batches, map_ahead
from hashcli.hashmodel.description import Resize
from hashcli.hashmodel.images import load_pixels
from hashcli.hashmodel.model import IMAGE_BATCH, HashModel
from hashcli.hashmodel.registry import find_model

TEXT_BATCH = 64

Advanced = Callable[[int], None]


class ImageTower(Protocol):
    """`key` tells one tower's features from another's; `width` is how many there are of a photo."""

    key: str
    width: int
    size: int
    resize: Resize

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        """float32 [width] for each photo in order, or the reason it has none."""


class TextTower(Protocol):
    """`key` tells one tower's features from another's; `width` is how many there are of a text."""

    key: str
    width: int

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, width]."""


class HashModelTower:
    """Both towers of a hash model, by the outputs before the sign."""

    def __init__(self, name: str) -> None:
        self.model = HashModel(find_model(name), verify=True)
        self.key = f"hashmodel-{self.model.fingerprint}"
        self.width = self.model.bits
        self.size = self.model.description.image.size
        self.resize = self.model.description.image.resize

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        return (result for _, result in self.model.encode_image_files(paths))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.model.encode_texts(texts)


class TorchImageTower(nn.Module):
    """A torch image encoder that takes the same uint8 pixels as a hash model, so that it can be exported as one."""

    def __init__(self, key: str, encoder: nn.Module, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.key = key
        self.size = size
        self.resize: Resize = "crop"
        self.encoder = encoder
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)
        self.eval()
        with torch.inference_mode():
            self.width = int(self(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[1])

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, size, size, 3] RGB to features [n, width]."""
        return cast(Tensor, self.encoder((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std))

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        device = self.mean.device
        loaded = map_ahead(lambda path: load_pixels(path, self.size, self.resize), paths, look_ahead=2 * IMAGE_BATCH)
        for batch in in_batches(loaded, IMAGE_BATCH):
            pixels = [result for _, result in batch if isinstance(result, np.ndarray)]
            with torch.inference_mode(), _half_precision(device):
                stacked = torch.from_numpy(np.stack(pixels)).to(device) if pixels else torch.empty(0)
                features = iter(self(stacked).float().cpu().numpy() if pixels else [])
            for _, result in batch:
                yield result if isinstance(result, Exception) else next(features)


@dataclass
class OpenClipTextTower:
    """open_clip's text encoder."""

    key: str
    width: int
    model: Any
    tokenizer: Any

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        device = next(self.model.parameters()).device
        with torch.inference_mode(), _half_precision(device):
            batches = [
                self.model.encode_text(self.tokenizer(batch).to(device)).float().cpu().numpy()
                for batch in in_batches(texts, TEXT_BATCH)
            ]
        return np.concatenate([np.empty((0, self.width), np.float32), *batches])


def open_teacher(name: str, device: torch.device | str = "cpu") -> tuple[ImageTower, TextTower]:
    """A teacher's image and text tower, whose features lie in one space."""
    if name.startswith("local-dir:") or ("/" in name and not Path(name).exists()):
        return _open_clip(name, device)
    tower = HashModelTower(name)
    return tower, tower


def open_image_tower(name: str, device: torch.device | str = "cpu") -> ImageTower:
    """A student's image backbone."""
    return _timm(name.removeprefix("timm:"), device) if name.startswith("timm:") else open_teacher(name, device)[0]


def image_features(
    tower: ImageTower, paths: Sequence[Path], dataset: str, cache: Path, advanced: Advanced
) -> np.ndarray:
    """float32 [n, width] of photos, from the cache or into it, mapped from disk.

    Raises HashcliError naming a photo that cannot be read. What a kill interrupts is computed again.
    """

    def compute(out: np.ndarray) -> None:
        for row, (path, result) in enumerate(zip(paths, tower.encode_images(map(str, paths)), strict=True)):
            if isinstance(result, Exception):
                raise HashcliError(f"{path} cannot be read: {result}.", "Restore it from the dataset's archive.")
            out[row] = result
            advanced(1)

    files = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return _cached(cache, f"{tower.key}-{tower.size}-{tower.resize}", dataset, [*map(str, files)], tower.width, compute)


def text_features(tower: TextTower, texts: Sequence[str], dataset: str, cache: Path, advanced: Advanced) -> np.ndarray:
    """float32 [n, width] of texts, from the cache or into it, mapped from disk."""

    def compute(out: np.ndarray) -> None:
        for start in range(0, len(texts), TEXT_BATCH):
            batch = texts[start : start + TEXT_BATCH]
            out[start : start + len(batch)] = tower.encode_texts(batch)
            advanced(len(batch))

    return _cached(cache, tower.key, dataset, texts, tower.width, compute)


def _half_precision(device: torch.device) -> torch.autocast:
    """bfloat16 arithmetic on a GPU; on a CPU nothing changes."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _cached(
    cache: Path, tower: str, dataset: str, items: Sequence[str], width: int, compute: Callable[[np.ndarray], None]
) -> np.ndarray:
    """An array keyed by tower, pre-processing, dataset and the items themselves; written whole or not at all."""
    digest = hashlib.sha256("\n".join([tower, *items]).encode(errors="surrogateescape")).hexdigest()[:16]
    path = cache / f"{dataset}-{digest}.npy"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # another run may want the same
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            out = np.lib.format.open_memmap(temporary, "w+", np.float32, (len(items), width))
            compute(out)
            out.flush()
            temporary.replace(path)
    return cast(np.ndarray, np.load(path, mmap_mode="r"))


@contextmanager
def _silence() -> Iterator[None]:
    """Without what libraries log: an error is told once, by us."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _open_clip(name: str, device: torch.device | str) -> tuple[TorchImageTower, OpenClipTextTower]:
    import open_clip

    key = name
    try:
        with _silence():
            if name.startswith("local-dir:"):
                folder = Path(name.removeprefix("local-dir:"))
                weights = sorted(path for path in folder.iterdir() if path.is_file())
                states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weights]
                key = f"local-dir-{folder.name}-{states}"
                model, _ = open_clip.create_model_from_pretrained(name)
                tokenizer = open_clip.get_tokenizer(name)
            else:
                arch, _, pretrained = name.partition("/")
                torch.manual_seed(0)  # for `random`
                model, _, _ = open_clip.create_model_and_transforms(
                    arch, pretrained=None if pretrained == "random" else pretrained
                )
                tokenizer = open_clip.get_tokenizer(arch)
    except Exception as error:  # open_clip and its hub raise many kinds
        raise HashcliError(
            f"The teacher {name} cannot be loaded ({str(error).splitlines()[0] if str(error) else error!r}).",
            "Without a network: --teacher lite-256, or --teacher local-dir:FOLDER of a saved open_clip model.",
        ) from error
    model.eval().requires_grad_(False)
    settings = open_clip.get_model_preprocess_cfg(model)
    size = settings["size"][0] if isinstance(settings["size"], list | tuple) else settings["size"]
    images = TorchImageTower(f"open_clip-{key}", model.visual, size, settings["mean"], settings["std"])
    images.to(device)
    model.to(device)
    return images, OpenClipTextTower(f"open_clip-{key}", images.width, model, tokenizer)


def _timm(name: str, device: torch.device | str) -> TorchImageTower:
    import timm
    from timm.data.config import resolve_model_data_config

    arch, _, pretrained = name.partition("/")
    torch.manual_seed(0)  # for `random`
    try:
        with _silence():
            model = timm.create_model(arch, pretrained=pretrained != "random", num_classes=0)
    except Exception as error:  # timm and its hub raise many kinds
        raise HashcliError(
            f"The backbone timm:{name} cannot be loaded ({str(error).splitlines()[0] if str(error) else error!r}).",
            "Without a network: --student lite-256, or timm:NAME/random for untrained weights.",
        ) from error
    settings = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    model.eval().requires_grad_(False)
    tower = TorchImageTower(f"timm-{name}", model, settings["input_size"][1], settings["mean"], settings["std"])
    return tower.to(device)
