"""The image and text tower of an open_clip model, by ARCH/PRETRAINED or local-dir:FOLDER."""

from pathlib import Path
from typing import Any

import torch

from hashcli.distillation.pretrained import (
    check_known,
    digest_files,
    first_line,
    our_resize,
    silence_libraries,
    skip_hub_if_offline,
)
from hashcli.distillation.towers import OpenClipTextTower, Precision, Preprocessing, TorchImageTower
from hashcli.errors import HashcliError

LOCAL = "local-dir:"


def open_open_clip(
    name: str, device: torch.device | str, precision: Precision
) -> tuple[TorchImageTower, OpenClipTextTower]:
    """Both towers, on a device. Raises HashcliError for a name that is unknown or weights that cannot be had."""
    import open_clip

    what = f"The teacher {name}"
    if not name.startswith(LOCAL):
        _check_name(name, what)
    try:
        with silence_libraries():
            key, model, tokenizer = _load(name)
    except Exception as error:  # open_clip and its hub raise many kinds
        raise HashcliError(
            f"{what} cannot be loaded ({first_line(error)}).",
            "Without a network, choose the hash model lite-256, or local-dir:FOLDER with a saved open_clip model.",
        ) from error
    model.eval().requires_grad_(False)
    config = open_clip.get_model_preprocess_cfg(model)
    size = config["size"][0] if isinstance(config["size"], list | tuple) else config["size"]
    resize = our_resize(what, config.get("resize_mode", "shortest"), shortest="crop", squash="squash")
    preprocessing = Preprocessing(size, config["mean"], config["std"], resize)
    images = TorchImageTower(f"open_clip-{key}", model.visual, preprocessing, precision)
    images.to(device)
    model.to(device)
    return images, OpenClipTextTower(images.key, images.width, model, tokenizer, precision)


def _check_name(name: str, what: str) -> None:
    import open_clip

    arch, _, pretrained = name.partition("/")
    listing = "open_clip.list_pretrained()"
    check_known(what, arch, open_clip.list_models(), "architectures of open_clip", listing)
    if pretrained != "random" and not Path(pretrained).is_file():
        tag = pretrained.lower().replace("-", "_")
        check_known(what, tag, open_clip.list_pretrained_tags_by_model(arch), f"weights of {arch}", listing)
        skip_hub_if_offline()


def _load(name: str) -> tuple[str, Any, Any]:
    """The key, the model and its tokenizer. The key of weights in files is a digest of these."""
    import open_clip

    if name.startswith(LOCAL):
        files = sorted(path for path in Path(name.removeprefix(LOCAL)).iterdir() if path.is_file())
        key = f"local-dir-{digest_files(files)}"
        model, _ = open_clip.create_model_from_pretrained(name)
        return key, model, open_clip.get_tokenizer(name)
    arch, _, pretrained = name.partition("/")
    key = f"{arch}-{digest_files([Path(pretrained)])}" if Path(pretrained).is_file() else name
    torch.manual_seed(0)  # for `random`
    weights = None if pretrained == "random" else pretrained
    model, _, _ = open_clip.create_model_and_transforms(arch, pretrained=weights)
    return key, model, open_clip.get_tokenizer(arch)
