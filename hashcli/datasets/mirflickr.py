"""MIRFlickr-25K (Huiskes and Lew 2008) as cross-modal hashing uses it (Jiang and Li, DCMH, 2017).

24 labels (the annotations without `_r1`); a photo's text is its Flickr tags that at least 20 of the 25,000 photos have;
photos without a label or without such a tag are dropped, which leaves 20,015 of them. The protocol MIR-D (DCHMT) takes
all 24,581 photos with a label, and all of their tags, even where they have none.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset, require
from hashcli.datasets.source import Archive, DatasetSource, Protocol
from hashcli.errors import HashcliError

PHOTOS = 25_000
TAG_USES = 20
LAYOUT = """\
  mirflickr/im1.jpg ... im25000.jpg
  mirflickr/meta/tags/tags1.txt ... tags25000.txt
  mirflickr25k_annotations_v080/animals.txt ... water.txt"""


def load(root: Path, tag_uses: int = TAG_USES) -> ImageTextDataset:
    """Read the official archives, unpacked side by side below `root`. They may hold only some of the photos."""
    photos = require(root / "mirflickr", "mirflickr", LAYOUT)
    tags_folder = require(photos / "meta" / "tags", "mirflickr", LAYOUT)
    annotations = require(root / "mirflickr25k_annotations_v080", "mirflickr", LAYOUT)
    numbers = [number for number in range(1, PHOTOS + 1) if (photos / f"im{number}.jpg").exists()]
    if not numbers:
        raise HashcliError(f"mirflickr: {photos} holds no photo im1.jpg to im{PHOTOS}.jpg.", f"Expected:\n{LAYOUT}")

    label_files = sorted(path for path in annotations.glob("*.txt") if not path.stem.endswith("_r1"))
    label_files = [path for path in label_files if path.stem.lower() != "readme"]
    if not label_files:
        raise HashcliError(f"mirflickr: {annotations} holds no labels.", f"Expected:\n{LAYOUT}")
    labels = np.zeros((PHOTOS + 1, len(label_files)), np.uint8)
    for column, path in enumerate(label_files):
        try:
            labels[[int(number) for number in path.read_text().split()], column] = 1
        except (ValueError, IndexError) as error:
            raise HashcliError(
                f"mirflickr: {path} is not a list of photo numbers from 1 to {PHOTOS}: {error}.",
                "Unpack it again from its archive.",
            ) from error

    tags = {number: _tags(tags_folder / f"tags{number}.txt") for number in numbers}
    uses = Counter(tag for own in tags.values() for tag in own)
    least = max(1, round(tag_uses * len(numbers) / PHOTOS))  # in proportion where only a part is on disk
    texts = {number: " ".join(tag for tag in own if uses[tag] >= least) for number, own in tags.items()}
    kept = [number for number in numbers if labels[number].any() and (texts[number] or not tag_uses)]
    part = f"{len(numbers):,} of {PHOTOS:,} photos are on disk" if len(numbers) < PHOTOS else ""
    return ImageTextDataset(
        name="mirflickr",
        ids=[f"im{number}" for number in kept],
        images=[photos / f"im{number}.jpg" for number in kept],
        texts=[[texts[number]] for number in kept],
        labels=labels[kept],
        label_names=[path.stem for path in label_files],
        missing=part,
    )


def load_all(root: Path) -> ImageTextDataset:
    """The same with every photo that has a label, and all its tags."""
    return load(root, tag_uses=0)


def _tags(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


_URL = "https://press.liacs.nl/mirflickr/mirflickr25k.v3b"

SOURCE = DatasetSource(
    "mirflickr",
    load,
    (
        Protocol("MIR-A", 20_015, 2_000, 10_000, "DCMH, SSAH, MITH"),
        Protocol("MIR-B", 20_015, 2_000, 5_000, "DJSRH, CFRH", per_label=(80, 200)),
        Protocol("MIR-C", 20_015, 2_000, 18_015, "UCCH, which trains on all of the database"),
        Protocol("MIR-D", 24_581, 5_000, 10_000, "DCHMT, DSPH", load=load_all),
    ),
    (
        Archive(f"{_URL}/mirflickr25k_annotations_v080.zip", "mirflickr25k_annotations_v080"),
        Archive(f"{_URL}/mirflickr25k.zip", "mirflickr", "a23d0a8564ee84cda5622a6c2f947785"),
    ),
)
