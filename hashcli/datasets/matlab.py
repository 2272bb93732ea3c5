"""Datasets as published code of cross-modal hashing passes them on: caption.mat, index.mat and label.mat, with one row
for each photo, as of DCHMT (Tu et al. 2022), MITH, DSPH and those that follow them.

    index.mat       index: the paths of the photos, on the machine of whoever wrote it
    caption.mat     caption: a text for each photo, or several; or caption.txt or all_tags.txt, one text a line
    label.mat       category or label: 0 or 1 [photos, classes]

That code splits by a permutation of NumPy's old generator. These protocols draw the same rows from the same files where
the seed is theirs too: 1814 for DCHMT and DSPH, 1 for MITH.
"""

from pathlib import Path

import numpy as np

from hashcli.arrays import as_string, read_arrays
from hashcli.datasets.dataset import ImageTextDataset, first_there, require
from hashcli.datasets.source import DatasetSource, Protocol
from hashcli.errors import HashcliError

PATHS = ("index", "imgs", "FAll")
TEXTS = ("caption", "tags", "YAll")
LABELS = ("category", "label", "labels", "LAll")
LAYOUT = """\
  index.mat       index: the paths of the photos, such as mirflickr/im1.jpg
  caption.mat     caption: their texts; or caption.txt or all_tags.txt, one line each
  label.mat       category or label: 0 or 1 for each photo and class
  the photos, whose paths may begin at any folder of those in index.mat: im1.jpg, mirflickr/im1.jpg"""


def load(root: Path) -> ImageTextDataset:
    """Read the three files below `root`. Photos that are not there are left out. Needs the extra `train`."""
    paths = [as_string(path).strip().replace("\\", "/") for path in _array(root, "index.mat", PATHS).ravel()]
    labels = _array(root, "label.mat", LABELS)
    if labels.ndim == 2 and labels.shape[0] != len(paths) == labels.shape[1]:
        labels = labels.T
    texts = _texts(root)
    if labels.ndim != 2 or not len(paths) == len(labels) == len(texts):
        raise HashcliError(
            f"{root}: index.mat has {len(paths):,} photos, label.mat {list(labels.shape)} labels, and there are texts "
            f"of {len(texts):,}.",
            "They belong together row by row.",
        )
    photos = [_find(root, path) for path in paths]
    kept = [row for row, photo in enumerate(photos) if photo]
    if not kept:
        raise HashcliError(f"mat: none of the photos of index.mat is in {root}.", f"Expected:\n{LAYOUT}")
    return ImageTextDataset(
        name="mat",
        ids=[_id(paths[row]) for row in kept],
        images=[photo for photo in photos if photo],
        texts=[_without_id(texts[row], paths[row]) for row in kept],
        labels=(labels[kept] > 0).astype(np.uint8),
        label_names=[f"class {column}" for column in range(labels.shape[1])],
        missing=f"{len(kept):,} of {len(paths):,} photos are on disk" if len(kept) < len(paths) else "",
    )


def _array(root: Path, file: str, names: tuple[str, ...]) -> np.ndarray:
    path = require(root / file, "mat", LAYOUT)
    arrays = read_arrays(path, names)
    found = next((arrays[name] for name in names if name in arrays), None)
    if found is None:
        raise HashcliError(f"{path} has none of the arrays {', '.join(names)}.", f"Expected:\n{LAYOUT}")
    return found


def _texts(root: Path) -> list[list[str]]:
    """The texts of each row: of a MATLAB cell, one or several."""
    path = first_there(root, ("caption.mat", "caption.txt", "all_tags.txt"), "mat", LAYOUT)
    if path.suffix == ".txt":
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [[" ".join(line.split())] for line in lines]
    array = _array(root, "caption.mat", TEXTS)
    cells = array if array.ndim == 1 else array[0] if array.shape[0] == 1 else array
    return [
        [" ".join(as_string(text).split()) for text in (cell.ravel() if isinstance(cell, np.ndarray) else [cell])]
        for cell in cells
    ]


def _find(root: Path, path: str) -> Path | None:
    """The photo of a path from elsewhere: the longest end of it that is there below `root`."""
    parts = path.split("/")
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((root / end for end in ends if end and (root / end).is_file()), None)


def _id(path: str) -> str:
    """The last two parts of a path: who passes the files on has other folders before them."""
    return "/".join(path.split("/")[-2:])


def _without_id(texts: list[str], path: str) -> list[str]:
    """Lines of NUS-WIDE's tags begin with the number that ends the photo's name."""
    number = Path(path).stem.rpartition("_")[2]
    return [text.partition(" ")[2] if number.isdecimal() and text.split(" ")[0] == number else text for text in texts]


SOURCE = DatasetSource(
    "mat",
    load,
    (
        Protocol("DCHMT", 15_360, 5_120, 10_240, "DCHMT: with seed 1814", legacy=True),
        Protocol("DSPH", 15_000, 5_000, 10_000, "DSPH and others: with seed 1814", legacy=True),
        Protocol("MITH", 12_000, 2_000, 10_000, "MITH on MIRFlickr: with seed 1", legacy=True),
        Protocol("MITH-NUS", 12_600, 2_100, 10_500, "MITH on NUS-WIDE: with seed 1", legacy=True),
        Protocol("MITH-COCO", 15_000, 5_000, 10_000, "MITH on COCO: with seed 1", legacy=True),
    ),
)
