"""A small open_clip model on disk, with drawn weights."""

import copy
import json
from pathlib import Path
from typing import Any

import torch

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]},
}


def make_small_clip(
    folder: Path,
    seed: int = 0,
    resize_mode: str = "shortest",
    interpolation: str = "bicubic",
    image_size: int | list[int] = 32,
) -> Path:
    """As open_clip saves one: `local-dir:FOLDER` names it."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    model_config = copy.deepcopy(CONFIG["model_cfg"])
    model_config["vision_cfg"]["image_size"] = image_size
    preprocess = CONFIG["preprocess_cfg"] | {"resize_mode": resize_mode, "interpolation": interpolation}
    config = {"model_cfg": model_config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = open_clip.CLIP(**model_config)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder
