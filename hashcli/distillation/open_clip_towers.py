"""The image and text tower of an open_clip model, by any name that open_clip knows.

These are ARCH/PRETRAINED, ARCH/FILE with a file of weights, hf-hub:OWNER/NAME and local-dir:FOLDER.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from hashcli.distillation.pretrained import (
    check_known,
    digest_files,
    first_line,
    our_interpolation,
    our_resize,
    silence_libraries,
    skip_hub_if_offline,
)
from hashcli.distillation.towers import OpenClipTextTower, Precision, Preprocessing, TorchImageTower
from hashcli.errors import HashcliError

LOCAL, HUB = "local-dir:", "hf-hub:"


def open_open_clip(
    name: str, device: torch.device | str, precision: Precision
) -> tuple[TorchImageTower, OpenClipTextTower]:
    """Both towers, on a device. Raises HashcliError for a name that is unknown or weights that cannot be had."""

    what = f"The teacher {name}"
    if name.startswith(HUB):
        skip_hub_if_offline()
    elif not name.startswith(LOCAL):
        _check_name(name, what)
    try:
        with silence_libraries():
            key, model, tokenizer = _load(name)
    except Exception as error:  # open_clip and its hub raise many kinds
        raise _not_loaded(what, error) from error
    model.eval().requires_grad_(False)
    _check_pooling(model, what)
    images = TorchImageTower(f"open_clip-{key}", model.visual, _preprocessing(model, what), precision)
    images.to(device)
    model.to(device)
    return images, OpenClipTextTower(images.key, images.width, model, tokenizer, precision)


def _not_loaded(what: str, error: Exception) -> HashcliError:
    if find_spec("transformers") is None and "transformers" in str(error):
        return HashcliError(
            f"{what} reads texts with the library transformers, which is not installed.",
            "Install it: pip install 'hashcli[train]'",
        )
    return HashcliError(
        f"{what} cannot be loaded ({first_line(error)}).",
        "Without a network, choose the hash model lite-256, or local-dir:FOLDER with a saved open_clip model.",
    )


def _preprocessing(model: Any, what: str) -> Preprocessing:
    """How the model's own pipeline prepares a photo. Raises HashcliError for what a hash model cannot do."""
    import open_clip

    config = open_clip.get_model_preprocess_cfg(model)
    size = config["size"]
    width, height = (size, size) if isinstance(size, int) else (size[-1], size[0])
    if width != height:
        raise HashcliError(f"{what} reads photos of {width} x {height} pixels; those of hash models are square.")
    resize = our_resize(what, config.get("resize_mode", "shortest"), shortest="crop", squash="squash")
    interpolation = our_interpolation(what, config.get("interpolation", "bicubic"))
    return Preprocessing(width, config["mean"], config["std"], resize, interpolation)


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
    check_known(what, arch, open_clip.list_models(), "architectures of open_clip", listing)
    if pretrained != "random" and not Path(pretrained).expanduser().is_file():
        tag = pretrained.lower().replace("-", "_")
        check_known(what, tag, open_clip.list_pretrained_tags_by_model(arch), f"weights of {arch}", listing)
        skip_hub_if_offline()


def _load(name: str) -> tuple[str, Any, Any]:
    """The key, the model and its tokenizer. The key of weights in files is a digest of these."""
    import open_clip

    if name.startswith(HUB):
        model, _ = open_clip.create_model_from_pretrained(name)
        return name, model, open_clip.get_tokenizer(name)
    if name.startswith(LOCAL):
        files = sorted(path for path in Path(name.removeprefix(LOCAL)).iterdir() if path.is_file())
        key = f"local-dir-{digest_files(files)}"
        model, _ = open_clip.create_model_from_pretrained(name)
        return key, model, open_clip.get_tokenizer(name)
    arch, _, pretrained = name.partition("/")
    file = Path(pretrained).expanduser()
    key = f"{arch}-{digest_files([file])}" if file.is_file() else name
    torch.manual_seed(0)  # for `random`
    weights = str(file) if file.is_file() else None if pretrained == "random" else pretrained
    model, _, _ = open_clip.create_model_and_transforms(arch, pretrained=weights)
    return key, model, open_clip.get_tokenizer(arch)
