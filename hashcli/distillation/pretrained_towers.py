"""Towers of pretrained models: open_clip's image and text towers, and timm's image towers."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch

from hashcli.distillation.towers import OpenClipTextTower, Precision, Preprocessing, TorchImageTower
from hashcli.errors import HashcliError, did_you_mean
from hashcli.hashmodel.description import Interpolation, Resize

LOCAL, HUB = "local-dir:", "hf-hub:"


def open_clip_towers(
    name: str, device: torch.device | str, precision: Precision
) -> tuple[TorchImageTower, OpenClipTextTower]:
    """Both towers, on a device. Raises HashcliError for a name that is unknown or weights that cannot be had."""
    what = f"The teacher {name}"
    if name.startswith(HUB):
        skip_hub_if_offline()
    elif not name.startswith(LOCAL):
        _check_name(name, what)
    try:
        with _silence_libraries():
            key, model, tokenizer = _load(name)
    except Exception as error:  # open_clip and its hub raise many kinds
        raise _not_loaded(what, error) from error
    model.eval().requires_grad_(False)
    _check_pooling(model, what)
    images = TorchImageTower(f"open_clip-{key}", model.visual, _preprocessing(model, what), precision)
    images.to(device)
    model.to(device)
    return images, OpenClipTextTower(images.key, images.width, model, tokenizer, precision)


def timm_tower(name: str, device: torch.device | str) -> TorchImageTower:
    """The model by timm's name, or NAME/FILE for weights from a file, or NAME/random for untrained weights.

    Raises HashcliError if it cannot be had.
    """
    import timm
    from timm.data.config import resolve_model_data_config

    what = f"The backbone timm:{name}"
    arch, _, pretrained = name.partition("/")
    _check_known(what, arch.partition(".")[0], timm.list_models(), "architectures of timm", "timm.list_models()")
    file = Path(pretrained).expanduser() if pretrained not in ("", "random") else None
    if file and not file.is_file():
        raise HashcliError(f"{what} cannot be loaded: there is no file {file}.", "Give timm:NAME/FILE, or timm:NAME.")
    if not pretrained:
        skip_hub_if_offline()
    torch.manual_seed(0)  # for `random`
    try:
        with _silence_libraries():
            model = timm.create_model(arch, pretrained=not pretrained, num_classes=0)
            # The file may also have a classifier, which is not needed.
            loaded = timm.models.load_checkpoint(model, str(file), strict=False) if file else None
        if loaded and loaded.missing_keys:
            raise ValueError(f"there is no {loaded.missing_keys[0]} in the file")
    except Exception as error:  # timm and its hub raise many kinds
        raise HashcliError(
            f"{what} cannot be loaded ({_first_line(error)}).",
            "Choose the model whose weights they are."
            if file
            else "Without a network, choose the student lite-256, or timm:NAME/FILE with weights from a file.",
        ) from error
    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    model.eval().requires_grad_(False)
    _, height, width = config["input_size"]
    _check_square(what, width, height)
    resize = _our_resize(what, config["crop_mode"], center="crop", squash="squash")
    interpolation = our_interpolation(what, config["interpolation"])
    preprocessing = Preprocessing(height, config["mean"], config["std"], resize, interpolation)
    key = f"timm-{arch}-{_digest_files([file])}" if file else f"timm-{name}"
    return TorchImageTower(key, model, preprocessing).to(device)


def _not_loaded(what: str, error: Exception) -> HashcliError:
    if find_spec("transformers") is None and "transformers" in str(error):
        return HashcliError(
            f"{what} reads texts with the library transformers, which is not installed.",
            "Install it: pip install 'hashcli[train]'",
        )
    return HashcliError(
        f"{what} cannot be loaded ({_first_line(error)}).",
        "Without a network, choose the hash model lite-256, or local-dir:FOLDER with a saved open_clip model.",
    )


def _preprocessing(model: Any, what: str) -> Preprocessing:
    """How the model's own pipeline prepares a photo. Raises HashcliError for what a hash model cannot do."""
    import open_clip

    config = open_clip.get_model_preprocess_cfg(model)
    size = config["size"]
    width, height = (size, size) if isinstance(size, int) else (size[-1], size[0])
    _check_square(what, width, height)
    resize = _our_resize(what, config.get("resize_mode", "shortest"), shortest="crop", squash="squash")
    interpolation = our_interpolation(what, config.get("interpolation", "bicubic"))
    return Preprocessing(width, config["mean"], config["std"], resize, interpolation)


def _check_square(what: str, width: int, height: int) -> None:
    if width != height:
        raise HashcliError(f"{what} reads photos of {width} x {height} pixels; those of hash models are square.")


def _check_pooling(model: Any, what: str) -> None:
    """open_clip's maximum over the tokens is broken: it hides the text in place of the padding, or fails."""
    if type(getattr(getattr(model, "text", None), "pooler", None)).__name__ == "MaxPooler":
        raise HashcliError(
            f"{what} takes the maximum over a text's tokens, which fails in open_clip.", "Choose another teacher."
        )


def _check_name(name: str, what: str) -> None:
    import open_clip

    arch, _, pretrained = name.partition("/")
    listing = "open_clip.list_pretrained()"
    _check_known(what, arch, open_clip.list_models(), "architectures of open_clip", listing)
    if pretrained != "random" and not Path(pretrained).expanduser().is_file():
        tag = pretrained.lower().replace("-", "_")
        _check_known(what, tag, open_clip.list_pretrained_tags_by_model(arch), f"weights of {arch}", listing)
        skip_hub_if_offline()


def _load(name: str) -> tuple[str, Any, Any]:
    """The key, the model and its tokenizer. The key of weights in files is a digest of these."""
    import open_clip

    if name.startswith(HUB):
        model, _ = open_clip.create_model_from_pretrained(name)
        return name, model, open_clip.get_tokenizer(name)
    if name.startswith(LOCAL):
        files = sorted(path for path in Path(name.removeprefix(LOCAL)).iterdir() if path.is_file())
        key = f"local-dir-{_digest_files(files)}"
        model, _ = open_clip.create_model_from_pretrained(name)
        return key, model, open_clip.get_tokenizer(name)
    arch, _, pretrained = name.partition("/")
    file = Path(pretrained).expanduser()
    key = f"{arch}-{_digest_files([file])}" if file.is_file() else name
    torch.manual_seed(0)  # for `random`
    weights = str(file) if file.is_file() else None if pretrained == "random" else pretrained
    quick_gelu = _needs_quick_gelu(arch, weights)
    if quick_gelu:
        key += "-quickgelu"
    model, _, _ = open_clip.create_model_and_transforms(arch, pretrained=weights, force_quick_gelu=quick_gelu)
    return key, model, open_clip.get_tokenizer(arch)


def _needs_quick_gelu(arch: str, weights: str | None) -> bool:
    """Whether weights belong to another activation than the architecture has, as OpenAI's do: open_clip only warns."""
    import open_clip

    trained_with = weights is not None and open_clip.get_pretrained_cfg(arch, weights).get("quick_gelu", False)
    return bool(trained_with and not open_clip.get_model_config(arch).get("quick_gelu", False))


def _check_known(what: str, name: str, known: Sequence[str], kind: str, listing: str) -> None:
    """Raise HashcliError with the nearest of the known names, which may be hundreds.

    `kind` says what is known, and `listing` is the Python call that lists it.
    """
    if name not in known:
        raise HashcliError(
            f"{what} cannot be loaded: {name!r} is not among the {kind}.{did_you_mean(name, known)}",
            f"In Python, {listing} lists them all.",
        )


def _first_line(error: Exception) -> str:
    """What a library says of an error, which may be pages."""
    return str(error).splitlines()[0] if str(error) else repr(error)


def _digest_files(files: Sequence[Path]) -> str:
    """16 hex digits over the files' content."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def _our_resize(what: str, mode: str, **ours: Resize) -> Resize:
    """The resize of a hash model for the one that a library names. Raises HashcliError where there is none."""
    if mode not in ours:
        raise HashcliError(f"{what} resizes photos by {mode!r}, which hash models cannot do.")
    return ours[mode]


def our_interpolation(what: str, name: str) -> Interpolation:
    """The interpolation of a hash model for the one that a library names. Raises HashcliError where there is none."""
    if name == "random":  # in training alone
        return "bicubic"
    if name not in ("bicubic", "bilinear"):
        raise HashcliError(f"{what} resizes photos with {name!r} interpolation, which hash models cannot.")
    return cast(Interpolation, name)


@contextmanager
def _silence_libraries() -> Iterator[None]:
    """Without the libraries' log messages: we report an error ourselves, once."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def skip_hub_if_offline() -> None:
    """Keep the Hugging Face client from trying for minutes where its hub does not answer.

    Offline, it uses what it has downloaded before, or says at once that it has nothing.
    """
    from huggingface_hub import constants, get_session

    if not constants.HF_HUB_OFFLINE:
        try:
            get_session().head(constants.ENDPOINT, timeout=5)
        except Exception:  # the client may be built on one of several HTTP libraries
            constants.HF_HUB_OFFLINE = True
