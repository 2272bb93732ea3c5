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
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from hashcli.errors import HashcliError, did_you_mean
from hashcli.hashmodel.description import Resize
from hashcli.hashmodel.images import load_pixels
from hashcli.hashmodel.model import IMAGE_BATCH, HashModel
from hashcli.hashmodel.prefetch import batched, prefetch
from hashcli.hashmodel.registry import find_model

TEXT_BATCH = 64

Advanced = Callable[[int], None]
Precision = Literal["float32", "bfloat16"]


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

    def __init__(
        self,
        key: str,
        encoder: nn.Module,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        resize: Resize = "crop",
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.key = key + _told(precision)
        self.size = size
        self.resize: Resize = resize
        self.precision = precision
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

    def arithmetic(self) -> torch.autocast:
        """The precision it computes in."""
        return _arithmetic(self.mean.device, self.precision)

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        device = self.mean.device
        loaded = prefetch(lambda path: load_pixels(path, self.size, self.resize), paths, look_ahead=2 * IMAGE_BATCH)
        for batch in batched(loaded, IMAGE_BATCH):
            pixels = [result for _, result in batch if isinstance(result, np.ndarray)]
            with torch.inference_mode(), self.arithmetic():
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
    precision: Precision

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        device = next(self.model.parameters()).device
        with torch.inference_mode(), _arithmetic(device, self.precision):
            batches = [
                self.model.encode_text(self.tokenizer(batch).to(device)).float().cpu().numpy()
                for batch in batched(texts, TEXT_BATCH)
            ]
        return np.concatenate([np.empty((0, self.width), np.float32), *batches])


def open_teacher(
    name: str, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> tuple[ImageTower, TextTower]:
    """A teacher's image and text tower, whose features lie in one space. A hash model's compute as they were made."""
    if name.startswith("local-dir:") or ("/" in name and not Path(name).exists()):
        return _open_clip(name, device, precision)
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


def _arithmetic(device: torch.device, precision: Precision) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _told(precision: Precision) -> str:
    """What it adds to a tower's key: features of another precision are other features."""
    return "" if precision == "float32" else f"-{precision}"


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


def _open_clip(
    name: str, device: torch.device | str, precision: Precision
) -> tuple[TorchImageTower, OpenClipTextTower]:
    import open_clip

    key = name
    arch, _, pretrained = name.partition("/")
    folder = Path(name.removeprefix("local-dir:")) if name.startswith("local-dir:") else None
    if not folder:
        _check_known(
            f"The teacher {name}",
            arch,
            open_clip.list_models(),
            "architectures of open_clip",
            "open_clip.list_pretrained()",
        )
        if Path(pretrained).is_file():
            key = f"{arch}-{_digest([Path(pretrained)])}"
        elif pretrained != "random":
            tag, tags = pretrained.lower().replace("-", "_"), open_clip.list_pretrained_tags_by_model(arch)
            _check_known(f"The teacher {name}", tag, tags, f"weights of {arch}", "open_clip.list_pretrained()")
            _ask_the_hub_only_if_it_answers()
    try:
        with _silence():
            if folder:
                key = f"local-dir-{_digest(sorted(path for path in folder.iterdir() if path.is_file()))}"
                model, _ = open_clip.create_model_from_pretrained(name)
                tokenizer = open_clip.get_tokenizer(name)
            else:
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
    images = TorchImageTower(
        f"open_clip-{key}",
        model.visual,
        size,
        settings["mean"],
        settings["std"],
        _resize(f"The teacher {name}", settings.get("resize_mode", "shortest"), shortest="crop", squash="squash"),
        precision,
    )
    images.to(device)
    model.to(device)
    return images, OpenClipTextTower(images.key, images.width, model, tokenizer, precision)


def _timm(name: str, device: torch.device | str) -> TorchImageTower:
    import timm
    from timm.data.config import resolve_model_data_config

    arch, _, pretrained = name.partition("/")
    _check_known(
        f"The backbone timm:{name}",
        arch.partition(".")[0],
        timm.list_models(),
        "architectures of timm",
        "timm.list_models()",
    )
    if pretrained != "random":
        _ask_the_hub_only_if_it_answers()
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
    resize = _resize(f"The backbone timm:{name}", settings["crop_mode"], center="crop", squash="squash")
    size, mean, std = settings["input_size"][1], settings["mean"], settings["std"]
    tower = TorchImageTower(f"timm-{name}", model, size, mean, std, resize)
    return tower.to(device)


def _digest(files: Sequence[Path]) -> str:
    """16 hex digits over the files' content."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def _check_known(what: str, name: str, known: Sequence[str], of: str, all_of_them: str) -> None:
    """Raise HashcliError with the nearest name, of what may be hundreds."""
    if name not in known:
        raise HashcliError(
            f"{what} cannot be loaded: {name!r} is not among the {of}.{did_you_mean(name, known)}",
            f"In Python, {all_of_them} tells them all.",
        )


def _resize(what: str, mode: str, **ours: Resize) -> Resize:
    """How the model's own settings bring a photo to its size, in our words."""
    if mode not in ours:
        raise HashcliError(f"{what} brings photos to its size by {mode!r}, which hash models cannot.")
    return ours[mode]


def _ask_the_hub_only_if_it_answers() -> None:
    """The hub's client tries for minutes. Told that it is offline, it takes what it has kept, or says at once that it
    has nothing."""
    from huggingface_hub import constants, get_session

    if not constants.HF_HUB_OFFLINE:
        try:
            get_session().head(constants.ENDPOINT, timeout=5)
        except Exception:  # of whatever library the client is made with
            constants.HF_HUB_OFFLINE = True
