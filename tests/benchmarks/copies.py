"""How many altered copies of photos `duplicates` finds, and which of its groups join different photos.

    python -m tests.benchmarks.copies FOLDER [FOLDER ...] --photos 500 --seed 0

All photos of the folders are indexed with lite-256, and so are changed copies of some of them, drawn by the seed. Then
duplicates are looked for among the photos without copies, among the photos drawn and their copies of each change, and
among everything together.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

import hashcli
from hashcli.index.files.paths import canonical
from hashcli.index.files.scan import is_photo
from hashcli.index.update_callback import UpdateCallback

CROP = 0.05
QUALITY = 90  # in which a changed picture is saved


def cropped(photo: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """A photo without some shares of its width and height."""
    width, height = photo.size
    edges = left * width, top * height, (1 - right) * width, (1 - bottom) * height
    return photo.crop(tuple(round(edge) for edge in edges))  # type: ignore[arg-type]


def brightened(photo: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(photo).enhance(factor)


def captioned(photo: Image.Image, *, has_bar: bool) -> Image.Image:
    """A photo with white words at its bottom, as wide as it, or with black ones on a white bar of a seventh of it."""
    photo = photo.copy()
    width, height = photo.size
    draw, words = ImageDraw.Draw(photo), "What a wonderful day!"
    font = ImageFont.load_default(height / 10)
    font = ImageFont.load_default(min(height / 10, height / 10 * 0.9 * width / draw.textlength(words, font)))
    if has_bar:
        draw.rectangle((0, height * 6 // 7, width, height), fill="white")
    fill, edge = ("black", 0) if has_bar else ("white", max(1, height // 150))
    draw.text((width / 2, height * 13 / 14), words, fill, font, "mm", stroke_width=edge, stroke_fill="black")
    return photo


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "halved": lambda photo: photo.resize((max(1, photo.width // 2), max(1, photo.height // 2))),
    "quality 50": lambda photo: photo,
    "cropped by 5 % at one side": lambda photo: cropped(photo, CROP, 0, 0, 0),
    "cropped by 5 % at each side": lambda photo: cropped(photo, CROP, CROP, CROP, CROP),
    "10 % brighter": lambda photo: brightened(photo, 1.1),
    "10 % darker": lambda photo: brightened(photo, 0.9),
    "captioned": lambda photo: captioned(photo, has_bar=False),
    "captioned on a bar": lambda photo: captioned(photo, has_bar=True),
    "grey": lambda photo: photo.convert("L"),
    "turned by 1 degree": lambda photo: photo.rotate(1, Image.Resampling.BICUBIC),
}


@dataclass(frozen=True)
class Copies:
    """The copies of one change, in a folder of their own; `photo_of` gives the photo that each was made of."""

    change: str
    folder: Path
    photo_of: dict[str, str]


def make_copies(photos: list[str], change: str, folder: Path) -> Copies:
    folder.mkdir()
    photo_of = {}
    for number, path in enumerate(photos):
        with Image.open(path) as photo:
            copy = CHANGES[change](photo.convert("RGB"))
        photo_of[str(folder / f"{number}.jpg")] = path
        copy.save(folder / f"{number}.jpg", quality=50 if change == "quality 50" else QUALITY)
    return Copies(change, folder, photo_of)


def groups_in(index: hashcli.Index, folders: Iterable[str | Path]) -> list[list[str]]:
    found = index.duplicates([str(folder) for folder in folders])
    return [[photo.path for photo in group] for group in found.groups]


def report_groups(groups: list[list[str]]) -> None:
    for group in groups:
        print("   ", *group)


def measure(folders: list[str], count: int, seed: int, work: Path) -> None:
    """Print what is found, change by change."""
    photos = sorted(
        os.path.join(parent, name)
        for folder in folders
        for parent, _, names in os.walk(folder)
        for name in names
        if is_photo(name)
    )
    numbers = np.random.default_rng(seed).permutation(len(photos))[:count]
    chosen = [photos[number] for number in numbers.tolist()]
    every = [make_copies(chosen, change, work / change) for change in CHANGES]
    photo_of = {copy: photo for copies in every for copy, photo in copies.photo_of.items()}
    with hashcli.open_index(work / "index", create=True) as index:
        index.update([*folders, *(copies.folder for copies in every)], progress=UpdateCallback())
        groups = groups_in(index, folders)
        print(f"{len(photos):,} photos, without copies: {len(groups)} groups. Look at them: are they the same?")
        report_groups(groups)
        first_of = {path: group[0] for group in groups for path in group}

        def are_of_one(group: list[str]) -> bool:
            originals = [photo_of.get(path, path) for path in group]
            return len({first_of.get(path, path) for path in originals}) == 1

        for copies in every:
            groups = groups_in(index, [*chosen, copies.folder])
            group_of = {path: number for number, group in enumerate(groups) for path in group}
            found = [copy for copy, photo in copies.photo_of.items() if group_of.get(copy, -1) == group_of.get(photo)]
            print(f"{copies.change}: {len(found) / len(chosen):.1%} of {len(chosen)} found")
        groups = groups_in(index, [*folders, *(copies.folder for copies in every)])
        false = [group for group in groups if not are_of_one(group)]
        print(f"all changes together: {len(false)} groups of different photos")
        report_groups(false)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--photos", type=int, default=500, help="how many photos get copies (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws them (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folders = [canonical(folder) for folder in arguments.folders]
        measure(folders, arguments.photos, arguments.seed, Path(canonical(work)))


if __name__ == "__main__":
    main()
