"""Small datasets in the publishers' layouts, of real photos."""

import shutil
from pathlib import Path

from tests.conftest import PHOTOS, SKIMAGE

JPEGS = [name for name in PHOTOS if name.endswith(".jpg")]


def make_mirflickr(root: Path, photos: int) -> Path:
    """Odd photos show a dog and even ones the sky; photo 3 has no tags, and photo 4 no label."""
    tags = root / "mirflickr" / "meta" / "tags"
    tags.mkdir(parents=True)
    for number in range(1, photos + 1):
        shutil.copy(SKIMAGE / JPEGS[number % len(JPEGS)], root / "mirflickr" / f"im{number}.jpg")
        (tags / f"tags{number}.txt").write_text("" if number == 3 else f"common\ntag{number}\n")
    annotations = root / "mirflickr25k_annotations_v080"
    annotations.mkdir()
    shown = {
        "dog": [number for number in range(1, photos + 1) if number % 2],
        "sky": [number for number in range(1, photos + 1) if number % 2 == 0 and number != 4],
        "dog_r1": [1],
    }
    for name, numbers in shown.items():
        (annotations / f"{name}.txt").write_text("".join(f"{number}\n" for number in numbers))
    return root


def make_flickr8k(root: Path, train: int, dev: int) -> Path:
    """Photos numbered in order, first those of train, each with five captions that name its number."""
    (root / "Flicker8k_Dataset").mkdir(parents=True)
    names = [f"photo{number}.jpg" for number in range(train + dev)]
    for number, name in enumerate(names):
        shutil.copy(SKIMAGE / JPEGS[number % len(JPEGS)], root / "Flicker8k_Dataset" / name)
    lines = [f"{name}#{i}\tcaption {i} of photo {number}" for number, name in enumerate(names) for i in range(5)]
    (root / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    (root / "Flickr_8k.trainImages.txt").write_text("\n".join(names[:train]) + "\n")
    (root / "Flickr_8k.devImages.txt").write_text("\n".join(names[train:]) + "\n")
    return root
