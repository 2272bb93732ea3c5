"""Flickr8k (Hodosh, Young and Hockenmaier 2013) and Flickr30k (Young et al. 2014): photos with five captions each.

They are passed on in several forms, and any of them is read. Flickr8k's publisher divides it into 6,000 photos to
train, 1,000 dev and 1,000 test; Flickr30k's does not, and the papers use Karpathy's division into 29,000, 1,014 and
1,000. A folder without a list of parts, as on Kaggle, is split like a dataset of your own.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset, first_there
from hashcli.datasets.karpathy import read_karpathy
from hashcli.datasets.source import DatasetSource
from hashcli.errors import HashcliError

LISTS_8K = {"train": "Flickr_8k.trainImages.txt", "dev": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt"}


class _Layout(NamedTuple):
    """Where a dataset's photos, captions and parts may be below its root; the first that is there is read."""

    name: str
    photos: tuple[str, ...]
    captions: tuple[str, ...]
    karpathy: str
    lists: dict[str, str]
    shown: str


FLICKR8K = _Layout(
    "flickr8k",
    ("Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Images", "images"),
    ("Flickr8k.token.txt", "Flickr8k_text/Flickr8k.token.txt", "captions.txt"),
    "dataset_flickr8k.json",
    LISTS_8K,
    """\
  Flicker8k_Dataset/*.jpg                            or Images/*.jpg, as on Kaggle
  Flickr8k.token.txt                                 or captions.txt, as on Kaggle
  Flickr_8k.trainImages.txt, Flickr_8k.devImages.txt, Flickr_8k.testImages.txt
(or dataset_flickr8k.json, Karpathy's, for captions and parts)""",
)
FLICKR30K = _Layout(
    "flickr30k",
    (
        *("flickr30k-images", "flickr30k_images/flickr30k_images", "flickr30k_images", "flickr30k-images/images"),
        *("Images", "images"),
    ),
    (
        *("results_20130124.token", "flickr30k/results_20130124.token"),
        *("results.csv", "flickr30k_images/results.csv", "captions.txt"),
    ),
    "dataset_flickr30k.json",
    {},
    """\
  flickr30k-images/*.jpg                             or flickr30k_images/*.jpg
  dataset_flickr30k.json                             Karpathy's, for captions and parts
(or results_20130124.token or Kaggle's results.csv, for captions alone)""",
)


def load_8k(root: Path) -> ImageTextDataset:
    """Read Flickr8k below `root`. Parts whose list is missing are left out."""
    return _load(root, FLICKR8K)


def load_30k(root: Path) -> ImageTextDataset:
    """Read Flickr30k below `root`."""
    return _load(root, FLICKR30K)


def _load(root: Path, layout: _Layout) -> ImageTextDataset:
    folder = first_there(root, layout.photos, layout.name, layout.shown)
    listed: dict[str, list[str]] = {}  # photos by part
    unlisted = list[str]()
    if (root / layout.karpathy).exists():
        photos = read_karpathy(root / layout.karpathy)
        captions = {photo.file: photo.texts for photo in photos}
        for photo in photos:
            listed.setdefault(photo.part, []).append(photo.file)
    else:
        captions = _read_captions(first_there(root, layout.captions, layout.name, layout.shown))
        listed, unlisted = _read_lists(root, layout)

    on_disk = {path.name for path in folder.iterdir()}
    ids: list[str] = []
    parts: dict[str, np.ndarray] = {}
    absent = []
    for part, files in (listed or {"": list(captions)}).items():
        named = [file for file in files if file in captions and file in on_disk]
        if part:
            parts[part] = np.arange(len(ids), len(ids) + len(named))
        ids += named
        if len(named) < len(files):
            kind = f"{part} photos" if part else "photos with captions"
            absent.append(f"{len(files) - len(named):,} of {len(files):,} {kind} are not on disk")
    absent += unlisted
    if not ids:
        raise HashcliError(
            f"{layout.name}: no photo that a list in {root} names is in {folder}.", f"Expected:\n{layout.shown}"
        )
    return ImageTextDataset(
        name=layout.name,
        ids=ids,
        images=[folder / file for file in ids],
        texts=[captions[file] for file in ids],
        parts=parts,
        missing=", and ".join(absent),
    )


def _read_lists(root: Path, layout: _Layout) -> tuple[dict[str, list[str]], list[str]]:
    """The photos of each part by the publisher's lists, and which lists are missing."""
    listed, missing = dict[str, list[str]](), list[str]()
    for part, name in layout.lists.items():
        path = next((one for one in (root / name, root / "Flickr8k_text" / name) if one.exists()), None)
        if path:
            listed[part] = path.read_text().split()
        else:
            missing.append(f"the {part} list is not on disk")
    if layout.lists and not listed:
        missing = ["none of the lists of the publisher's split is on disk"]
    return listed, missing


def _read_captions(path: Path) -> dict[str, list[str]]:
    """The captions of each photo, from any of the forms. A photo's name may have `#` and the caption's number."""
    captions: dict[str, list[str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as lines:
        if path.suffix == ".csv":  # of three columns between bars; one of its lines lacks the second bar
            next(lines, None)
            pairs = [_between_bars(line) for line in lines]
        elif path.name == "captions.txt":
            rows = csv.reader(lines)
            next(rows, None)
            pairs = [(row[0], ",".join(row[1:])) for row in rows if row]
        else:
            pairs = [(name, text) for name, _, text in (line.partition("\t") for line in lines)]
    for name, text in pairs:
        if text.strip():
            captions.setdefault(name.partition("#")[0].strip(), []).append(" ".join(text.split()))
    return captions


def _between_bars(line: str) -> tuple[str, str]:
    name, _, rest = line.partition("|")
    number, bar, text = rest.partition("|")
    return name, text if bar else number.strip().partition(" ")[2]


SOURCE_8K = DatasetSource("flickr8k", load_8k)
SOURCE_30K = DatasetSource("flickr30k", load_30k)
