"""Wikipedia (Rasiwasia et al., ACM Multimedia 2010): 2,866 photos of articles, each with a section of the text.

A pair has one of ten categories, which is its label. The publisher's split has 2,173 pairs to train and 693 to test.

The layout is taken from public code that reads it, and was not checked against the files themselves.
"""

import html
import re
from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset, require
from hashcli.datasets.source import DatasetSource
from hashcli.errors import HashcliError

CATEGORIES = ["art", "biology", "geography", "history", "literature", "media", "music", "royalty", "sport", "warfare"]
LISTS = {"train": "trainset_txt_img_cat.list", "test": "testset_txt_img_cat.list"}
LAYOUT = """\
  trainset_txt_img_cat.list, testset_txt_img_cat.list    lines of text, image and category, from 1
  images/art/*.jpg ... images/warfare/*.jpg              or images/*.jpg
  texts/*.xml
(all of wikipedia_dataset, itself or below the root)"""


def load(root: Path) -> ImageTextDataset:
    """Read the official files below `root`. They may hold only some of the photos."""
    base = root / "wikipedia_dataset" if (root / "wikipedia_dataset").is_dir() else root
    photos = {path.stem: path for path in require(base / "images", "wikipedia", LAYOUT).rglob("*.jpg")}
    texts_folder = require(base / "texts", "wikipedia", LAYOUT)
    ids, texts, categories = list[str](), list[list[str]](), list[int]()
    parts: dict[str, np.ndarray] = {}
    listed = 0
    for part, name in LISTS.items():
        first = len(ids)
        path = require(base / name, "wikipedia", LAYOUT)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            values = line.split()
            if len(values) != 3 or not values[2].isdecimal() or not 1 <= int(values[2]) <= len(CATEGORIES):
                raise HashcliError(f"{path}:{number}: not a text, an image and a category from 1 to 10: {line!r}.")
            listed += 1
            text = _text(texts_folder / f"{values[0]}.xml")
            if values[1] in photos and text:
                ids.append(values[1])
                texts.append([text])
                categories.append(int(values[2]) - 1)
        parts[part] = np.arange(first, len(ids))
    if not ids:
        raise HashcliError(f"wikipedia: no pair of the lists is in {base}.", f"Expected:\n{LAYOUT}")
    return ImageTextDataset(
        name="wikipedia",
        ids=ids,
        images=[photos[photo] for photo in ids],
        texts=texts,
        labels=np.eye(len(CATEGORIES), dtype=np.uint8)[categories],
        label_names=CATEGORIES,
        parts=parts,
        missing=f"{len(ids):,} of {listed:,} pairs are on disk" if len(ids) < listed else "",
    )


def _text(path: Path) -> str:
    """All words of a document, without its markup. By hand, because some of the files are not valid XML."""
    if not path.exists():
        return ""
    content = path.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"<text>(.*?)</text>", content, re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", found[1] if found else content)).split())


SOURCE = DatasetSource("wikipedia", load)
