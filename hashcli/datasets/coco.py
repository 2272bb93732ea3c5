"""MS COCO (Lin et al. 2014; Chen et al. 2015): photos with five captions each, and 80 object categories as labels.

The train and val parts together; photos without an object are dropped, which leaves 122,218 of the 123,287. The
releases of 2014 and 2017 hold the same photos, differently divided.

The hashing papers rank one caption of the five a photo has, so the protocol COCO evaluates the first; COCO-ALL
evaluates them all, in a text database five times as large. Both train on all captions of a training photo, as the code
of DCHMT does, which draws one of them each time. COCO-5K and COCO-1K are those of image-text matching (Karpathy and
Fei-Fei, CVPR 2015): five captions, no labels, and Karpathy's 5,000 test photos; for 1K in five folds, of which the seed
chooses one, so that seeds 0 to 4 give the mean over all.
"""

from pathlib import Path
from typing import Any

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset, first_there, require
from hashcli.datasets.karpathy import read_karpathy
from hashcli.datasets.source import Archive, DatasetSource, Protocol
from hashcli.errors import HashcliError
from hashcli.parsing import parse_json

PHOTOS = 123_287
LAYOUT = """\
  annotations/captions_train2017.json, captions_val2017.json
  annotations/instances_train2017.json, instances_val2017.json
  train2017/*.jpg, val2017/*.jpg                     or images/train2017/*.jpg ..., or images/*.jpg for both
(or 2014 for 2017 in every name; train or val alone is enough)"""
KARPATHY_LAYOUT = """  dataset_coco.json                                  Karpathy's, also in annotations/
  train2014/*.jpg, val2014/*.jpg                     or 2017, or images/train2014/*.jpg ..., or images/*.jpg"""


def load(root: Path) -> ImageTextDataset:
    """Read the official files below `root`. They may hold only some of the photos."""
    annotations = require(root / "annotations", "coco", LAYOUT)
    year = "2014" if not list(annotations.glob("captions_*2017.json")) else "2017"
    parts = [part for part in ("train", "val") if (annotations / f"captions_{part}{year}.json").exists()]
    if not parts:
        raise HashcliError(f"coco: {annotations} holds no captions.", f"Expected below its root folder:\n{LAYOUT}")

    images: dict[int, Path] = {}
    captions: dict[int, list[str]] = {}
    shown: dict[int, set[int]] = {}
    categories: dict[int, str] = {}
    for part in parts:
        folder = first_there(root, (f"{part}{year}", f"images/{part}{year}", "images"), "coco", LAYOUT)
        on_disk = {path.name for path in folder.iterdir()}
        captioned = _read(annotations / f"captions_{part}{year}.json")
        objects = _read(annotations / f"instances_{part}{year}.json")
        images |= {
            photo["id"]: folder / photo["file_name"] for photo in captioned["images"] if photo["file_name"] in on_disk
        }
        for caption in captioned["annotations"]:
            captions.setdefault(caption["image_id"], []).append(" ".join(caption["caption"].split()))
        for instance in objects["annotations"]:
            shown.setdefault(instance["image_id"], set()).add(instance["category_id"])
        categories |= {category["id"]: category["name"] for category in objects["categories"]}
    if not images:
        raise HashcliError(f"coco: none of the photos named in {annotations} is in {root}.", f"Expected:\n{LAYOUT}")

    kept = sorted(photo for photo in images if photo in captions and photo in shown)
    columns = {category: column for column, category in enumerate(sorted(categories))}
    labels = np.zeros((len(kept), len(columns)), np.uint8)
    for row, photo in enumerate(kept):
        labels[row, [columns[category] for category in shown[photo]]] = 1
    return ImageTextDataset(
        name="coco",
        ids=[str(photo) for photo in kept],
        images=[images[photo] for photo in kept],
        texts=[captions[photo] for photo in kept],
        labels=labels,
        label_names=[categories[category] for category in columns],
        missing=f"{len(images):,} of {PHOTOS:,} photos are on disk" if len(images) < PHOTOS else "",
    )


def load_karpathy(root: Path) -> ImageTextDataset:
    """The photos of Karpathy's list with all their captions, no labels, and his parts, from below `root`."""
    listed = read_karpathy(
        first_there(root, ("dataset_coco.json", "annotations/dataset_coco.json"), "coco", KARPATHY_LAYOUT)
    )
    folders = [f"{part}{year}" for year in (2014, 2017) for part in ("train", "val")]
    places = [root / place for folder in (*folders, "") for place in (folder, f"images/{folder}") if place]
    on_disk = {path.name: path for place in places if place.is_dir() for path in place.iterdir()}
    # The release of 2017 names 000000391895.jpg what is COCO_val2014_000000391895.jpg in that of 2014, and in the list.
    images = {photo.file: on_disk.get(photo.file) or on_disk.get(photo.file.rpartition("_")[2]) for photo in listed}
    kept = [photo for photo in listed if images[photo.file]]
    if not kept:
        raise HashcliError(
            f"coco: none of the photos of dataset_coco.json is in {root}.", f"Expected:\n{KARPATHY_LAYOUT}"
        )
    part_of = np.array([photo.part for photo in kept])
    return ImageTextDataset(
        name="coco",
        ids=[photo.file for photo in kept],
        images=[path for photo in kept if (path := images[photo.file])],
        texts=[photo.texts for photo in kept],
        parts={part: np.flatnonzero(part_of == part) for part in ("train", "dev", "test") if part in part_of},
        missing=f"{len(kept):,} of {len(listed):,} photos are on disk" if len(kept) < len(listed) else "",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        text = require(path, "coco", LAYOUT).read_text(encoding="utf-8")
        content: dict[str, Any] = parse_json(text, _without_outline)
        return content
    except ValueError as error:
        raise HashcliError(f"coco: {path} is not JSON: {error}.", "Unpack it again from its archive.") from error


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    """Drop the outlines of the objects, which are most of the half gigabyte and are not used here."""
    entry.pop("segmentation", None)
    return entry


_URL = "http://images.cocodataset.org"

SOURCE = DatasetSource(
    "coco",
    load,
    (
        Protocol("COCO", 122_218, 5_000, 10_000, "MITH, DCHMT, NACD", texts=1),
        Protocol("COCO-ALL", 122_218, 5_000, 10_000, "none: as COCO, with all captions of a photo"),
        Protocol("COCO-5K", 123_287, 5_000, 113_287, "VSE++, SCAN and image-text matching since", load=load_karpathy),
        Protocol("COCO-1K", 123_287, 1_000, 113_287, "the same: the mean over five", load=load_karpathy, folds=5),
    ),
    (
        Archive(f"{_URL}/annotations/annotations_trainval2017.zip", "annotations", "f4bbac642086de4f52a3fdda2de5fa2c"),
        Archive(f"{_URL}/zips/val2017.zip", "val2017", "442b8da7639aecaf257c1dceb8ba8c80"),
        Archive(f"{_URL}/zips/train2017.zip", "train2017", "cced6f7f71b7629ddf16f17bbcfab6b2"),
    ),
)
