"""NUS-WIDE (Chua et al. 2009) as cross-modal hashing uses it, with its 10 or 21 most frequent concepts as labels.

A photo's text is those of its Flickr tags that are in the publisher's list of 1,000, in the order of the list: the
1,000 words of the papers' bag of words. `TagList1k.txt` is the list, and `AllTags1k.txt` says which of them each photo
has. `All_Tags.txt`, which holds every tag, is not read. Photos without such a tag, or without one of the concepts, are
dropped.

The 21 concepts are those of the lists that published code carries. The 10 are from memory, and are among the 21.
The publisher gives the photos on request only; those that are not on disk are left out.
"""

from itertools import compress
from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset, first_there, require
from hashcli.datasets.source import DatasetSource, Protocol
from hashcli.errors import HashcliError

PHOTOS = 269_648
CONCEPTS_10 = ["animal", "buildings", "clouds", "grass", "lake", "person", "plants", "sky", "water", "window"]
CONCEPTS_21 = [
    *["animal", "beach", "buildings", "clouds", "flowers", "grass", "lake", "mountain", "ocean", "person", "plants"],
    *["reflection", "road", "rocks", "sky", "snow", "sunset", "tree", "vehicle", "water", "window"],
]
LAYOUT = """\
  ImageList/Imagelist.txt
  Groundtruth/AllLabels/Labels_animal.txt ... Labels_window.txt
  NUS_WID_Tags/AllTags1k.txt, TagList1k.txt
  Flickr/actor/0001_2124494179.jpg ...               or images/0001_2124494179.jpg ..., all in one folder"""


def load_10(root: Path) -> ImageTextDataset:
    """Read the official files below `root`, with the 10 most frequent concepts as labels."""
    return _load(root, "nuswide10", CONCEPTS_10)


def load_21(root: Path) -> ImageTextDataset:
    """Read the official files below `root`, with the 21 most frequent concepts as labels."""
    return _load(root, "nuswide21", CONCEPTS_21)


def _load(root: Path, name: str, concepts: list[str]) -> ImageTextDataset:
    photos = first_there(root, ("Flickr", "images"), name, LAYOUT)
    listed = require(root / "ImageList" / "Imagelist.txt", name, LAYOUT).read_text(encoding="utf-8").splitlines()
    ids = [line.strip().replace("\\", "/") for line in listed if line.strip()]

    labels = np.zeros((len(ids), len(concepts)), np.uint8)
    for column, concept in enumerate(concepts):
        path = require(root / "Groundtruth" / "AllLabels" / f"Labels_{concept}.txt", name, LAYOUT)
        shown = path.read_text().split()
        _check_length(path, len(shown), len(ids))
        labels[:, column] = [value == "1" for value in shown]

    words = require(root / "NUS_WID_Tags" / "TagList1k.txt", name, LAYOUT).read_text(encoding="utf-8").split()
    tags_file = require(root / "NUS_WID_Tags" / "AllTags1k.txt", name, LAYOUT)
    texts: list[str] = []
    with tags_file.open() as lines:
        for number, line in enumerate(lines, start=1):
            has = line.split()
            if len(has) != len(words):
                raise HashcliError(
                    f"{tags_file}:{number}: {len(has)} columns, but TagList1k.txt has {len(words)} words.",
                    "Unpack both again from the publisher's archive.",
                )
            texts.append(" ".join(compress(words, map("1".__eq__, has))))
    _check_length(tags_file, len(texts), len(ids))

    paths = [photos / (photo.rpartition("/")[2] if photos.name == "images" else photo) for photo in ids]
    there = [row for row, path in enumerate(paths) if path.exists()]
    if not there:
        raise HashcliError(f"{name}: none of the photos of Imagelist.txt is in {photos}.", f"Expected:\n{LAYOUT}")
    kept = [row for row in there if texts[row] and labels[row].any()]
    return ImageTextDataset(
        name=name,
        ids=[ids[row] for row in kept],
        images=[paths[row] for row in kept],
        texts=[[texts[row]] for row in kept],
        labels=labels[kept],
        label_names=concepts,
        missing=f"{len(there):,} of {PHOTOS:,} photos are on disk" if len(there) < PHOTOS else "",
    )


def _check_length(path: Path, lines: int, photos: int) -> None:
    if lines != photos:
        raise HashcliError(
            f"{path} has {lines:,} lines, but Imagelist.txt names {photos:,} photos.",
            "They belong together line by line: unpack both again from the publisher's archives.",
        )


SOURCE_10 = DatasetSource(
    "nuswide10", load_10, (Protocol("NUS-10", 186_577, 2_100, 5_000, "UCCH, DJSRH"),), folder="nuswide"
)
SOURCE_21 = DatasetSource(
    "nuswide21", load_21, (Protocol("NUS-21", 190_421, 2_100, 10_500, "MITH, NACD"),), folder="nuswide"
)
