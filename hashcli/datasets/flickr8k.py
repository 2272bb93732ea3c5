"""Flickr8k (Hodosh, Young and Hockenmaier 2013): 8,000 photos with five captions each, and the publisher's split."""

from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset, require
from hashcli.datasets.source import DatasetSource
from hashcli.errors import HashcliError

PARTS = {"train": "Flickr_8k.trainImages.txt", "dev": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt"}
LAYOUT = """\
  Flicker8k_Dataset/*.jpg
  Flickr8k.token.txt
  Flickr_8k.trainImages.txt, Flickr_8k.devImages.txt, Flickr_8k.testImages.txt"""


def load(root: Path) -> ImageTextDataset:
    """Read the official files below `root`. Parts whose list is missing are left out."""
    photos = require(root / "Flicker8k_Dataset", "flickr8k", LAYOUT)
    captions: dict[str, list[str]] = {}
    for line in require(root / "Flickr8k.token.txt", "flickr8k", LAYOUT).read_text(encoding="utf-8").splitlines():
        name, _, caption = line.partition("\t")
        captions.setdefault(name.partition("#")[0], []).append(caption)

    ids: list[str] = []
    parts: dict[str, np.ndarray] = {}
    absent = []
    for part, list_name in PARTS.items():
        if (root / list_name).exists():
            listed = (root / list_name).read_text().split()
            named = [name for name in listed if name in captions and (photos / name).exists()]
            parts[part] = np.arange(len(ids), len(ids) + len(named))
            ids += named
            if len(named) < len(listed):
                absent.append(f"{len(listed) - len(named):,} of {len(listed):,} {part} photos are not on disk")
        else:
            absent.append(f"the {part} list is not on disk")
    if not ids:
        raise HashcliError(f"flickr8k: no photo that a list in {root} names is in {photos}.", f"Expected:\n{LAYOUT}")
    return ImageTextDataset(
        name="flickr8k",
        ids=ids,
        images=[photos / name for name in ids],
        texts=[captions[name] for name in ids],
        parts=parts,
        missing=", and ".join(absent),
    )


SOURCE = DatasetSource("flickr8k", load)
