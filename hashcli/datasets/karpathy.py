"""Karpathy's splits of Flickr8k, Flickr30k and COCO (Karpathy and Fei-Fei, CVPR 2015): dataset_flickr8k.json and so on.

One file lists the photos with their captions and parts: train, val and test, and for COCO restval, which the papers
that follow train on as well.
"""

from pathlib import Path
from typing import NamedTuple

from hashcli.errors import HashcliError
from hashcli.parsing import parse_json

PARTS = {"train": "train", "restval": "train", "val": "dev", "test": "test"}  # theirs: ours


class KarpathyPhoto(NamedTuple):
    """A photo of such a file, by its name without folders."""

    file: str
    part: str
    texts: list[str]


def read_karpathy(path: Path) -> list[KarpathyPhoto]:
    """The photos that the file lists, in its order. Raises HashcliError when it is something else."""
    try:
        photos = [
            KarpathyPhoto(
                str(photo["filename"]),
                PARTS[photo["split"]],
                [" ".join(sentence["raw"].split()) for sentence in photo["sentences"]],
            )
            for photo in parse_json(path.read_text(encoding="utf-8"))["images"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HashcliError(
            f"{path} is not one of Karpathy's lists of photos: {error!r}.", "Unpack it again from its archive."
        ) from error
    return photos
