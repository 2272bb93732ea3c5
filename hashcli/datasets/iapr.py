"""IAPR TC-12 (Grubinger et al. 2006): 20,000 photos, each with a description of what it shows.

The labels are not part of it. They come from its extension SAIAPR TC-12 (Escalante et al. 2010), which names every
region of every photo by one of 255 words; a photo's labels are the words of its regions. Without the extension the
pairs have no labels. Photos without a description are dropped, and with the extension, those without a region.

The layout of both is taken from public code that reads them, and was not checked against the files themselves.
"""

import html
import re
from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset, require
from hashcli.datasets.source import Archive, DatasetSource, Protocol
from hashcli.errors import HashcliError

PHOTOS = 20_000
LAYOUT = """\
  images/00/25.jpg ...                               of iaprtc12.tgz, in a folder iaprtc12 or not
  annotations_complete_eng/00/25.eng ...             likewise, with <DESCRIPTION>
  saiapr_tc-12/wlist.txt, saiapr_tc-12/00/labels.txt ...
      for labels: of the SAIAPR extension, also in saiaprtc12ok/benchmark"""


def load(root: Path) -> ImageTextDataset:
    """Read the official files below `root`. They may hold only some of the photos."""
    base = root / "iaprtc12" if (root / "iaprtc12").is_dir() else root
    folder = require(base / "images", "iapr", LAYOUT)
    descriptions = require(base / "annotations_complete_eng", "iapr", LAYOUT)
    photos = sorted(folder.glob("*/*.jpg"), key=lambda path: (path.parent.name, len(path.stem), path.stem))
    if not photos:
        raise HashcliError(f"iapr: {folder} holds no photo.", f"Expected:\n{LAYOUT}")
    texts = {path: _description(descriptions / path.parent.name / f"{path.stem}.eng") for path in photos}
    kept = [path for path in photos if texts[path]]
    missing = [f"{len(photos):,} of {PHOTOS:,} photos are on disk"] if len(photos) < PHOTOS else []

    extensions = [root / "saiapr_tc-12", root / "saiaprtc12ok" / "benchmark" / "saiapr_tc-12"]
    extension = next((path for path in extensions if path.is_dir()), None)
    labels, names = None, list[str]()
    if extension:
        shown, words = _regions(extension), _words(extension)
        kept = [path for path in kept if path.stem in shown]
        columns = {word: column for column, word in enumerate(sorted(set().union(*shown.values())))}
        labels = np.zeros((len(kept), len(columns)), np.uint8)
        for row, path in enumerate(kept):
            labels[row, [columns[word] for word in shown[path.stem]]] = 1
        names = [words.get(word, str(word)) for word in columns]
    else:
        missing.append("there are no labels, for they come with the extension SAIAPR TC-12")
    return ImageTextDataset(
        name="iapr",
        ids=[path.stem for path in kept],
        images=kept,
        texts=[[texts[path]] for path in kept],
        labels=labels,
        label_names=names,
        missing=", and ".join(missing),
    )


def _description(path: Path) -> str:
    if not path.exists():
        return ""
    text = path.read_text(encoding="cp1252", errors="replace")
    found = re.search(r"<DESCRIPTION>(.*?)</DESCRIPTION>", text, re.DOTALL)  # as XML, a stray & would lose the photo
    return " ".join(html.unescape(found[1]).split()) if found else ""


def _regions(extension: Path) -> dict[str, set[int]]:
    """The words of the regions of each photo, by photo number. Lines are `photo region word`, all three numbers."""
    shown: dict[str, set[int]] = {}
    for path in sorted(extension.glob("*/labels.txt")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            values = line.split()
            if not values:
                continue
            if len(values) < 3 or not values[2].isdecimal():
                raise HashcliError(f"{path}:{number}: not a photo, a region and a word: {line!r}.")
            shown.setdefault(values[0], set()).add(int(values[2]))
    if not shown:
        raise HashcliError(f"iapr: {extension} holds no labels.", f"Expected:\n{LAYOUT}")
    return shown


def _words(extension: Path) -> dict[int, str]:
    words = {}
    for line in require(extension / "wlist.txt", "iapr", LAYOUT).read_text(encoding="cp1252").splitlines():
        number, _, word = line.strip().partition("\t")
        if number.strip().isdecimal():
            words[int(number)] = word.strip()
    return words


SOURCE = DatasetSource(
    "iapr",
    load,
    (Protocol("IAPR TC-12", 20_000, 2_000, 5_000, "UCCH"),),
    (Archive("http://www-i6.informatik.rwth-aachen.de/imageclef/resources/iaprtc12.tgz"),),
)
