"""A timm model as a student's image tower."""

import torch

from hashcli.distillation.pretrained import (
    check_known,
    first_line,
    our_resize,
    silence_libraries,
    skip_hub_if_offline,
)
from hashcli.distillation.towers import Preprocessing, TorchImageTower
from hashcli.errors import HashcliError


def open_timm(name: str, device: torch.device | str) -> TorchImageTower:
    """The model by timm's name, or NAME/random for untrained weights. Raises HashcliError if it cannot be had."""
    import timm
    from timm.data.config import resolve_model_data_config

    what = f"The backbone timm:{name}"
    arch, _, pretrained = name.partition("/")
    check_known(what, arch.partition(".")[0], timm.list_models(), "architectures of timm", "timm.list_models()")
    if pretrained != "random":
        skip_hub_if_offline()
    torch.manual_seed(0)  # for `random`
    try:
        with silence_libraries():
            model = timm.create_model(arch, pretrained=pretrained != "random", num_classes=0)
    except Exception as error:  # timm and its hub raise many kinds
        raise HashcliError(
            f"{what} cannot be loaded ({first_line(error)}).",
            "Without a network, choose the student lite-256, or timm:NAME/random for untrained weights.",
        ) from error
    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    model.eval().requires_grad_(False)
    resize = our_resize(what, config["crop_mode"], center="crop", squash="squash")
    preprocessing = Preprocessing(config["input_size"][1], config["mean"], config["std"], resize)
    return TorchImageTower(f"timm-{name}", model, preprocessing).to(device)
