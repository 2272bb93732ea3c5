"""Your own photos and texts: a file that lists them, or a folder of photos with a text file beside each.

    pairs.jsonl     {"image": "beach/1.jpg", "text": "a dog on the beach", "labels": ["dog", "beach"]}
                    or "texts": [...] for several of one photo; "labels" may be left out
    pairs.csv       image,text,labels
                    beach/1.jpg,a dog on the beach,dog;beach
    a folder        beach/1.jpg with beach/1.txt or beach/1.jpg.txt, one text a line; no labels

Paths are relative to the file. Where a photo stands in several rows, its texts and labels are put together. Photos
without labels are kept where others have some: a split trains on them. Photos without texts are left out, unless they
are asked for.
"""

import os
from collections import deque
from pathlib import Path

import numpy as np

from hashcli.captions import CAPTIONS_SUFFIXES, holds_lines, photo_of, photos_by_stem, read_captions, read_lines
from hashcli.datasets.dataset import ImageTextDataset
from hashcli.errors import HashcliError
from hashcli.hashmodel.formats import photo_suffixes


class NoTextsError(HashcliError):
    """A folder of photos without texts, for a purpose that needs them."""


def load(path: Path, *, without_texts: bool = False) -> ImageTextDataset:
    """Read a list of pairs or a folder of photos; with `without_texts`, also those of its photos that have no text.

    Raises HashcliError naming the first line that cannot be used, and NoTextsError for a folder in which no photo has
    a text.
    """
    if path.is_dir():
        return _load_folder(path, without_texts=without_texts)
    if path.suffix.lower() not in CAPTIONS_SUFFIXES:
        raise HashcliError(
            f"{path} is neither a folder nor a list of pairs.", f"A list ends in {' or '.join(CAPTIONS_SUFFIXES)}."
        )
    return _load_list(path)


def _load_list(path: Path) -> ImageTextDataset:
    texts: dict[str, list[str]] = {}
    labels: dict[str, set[str]] = {}
    for row in read_captions(path):
        image = Path(row.image).as_posix()
        if not (path.parent / image).is_file():
            raise HashcliError(f"{path}:{row.line}: there is no photo {path.parent / image}.")
        texts.setdefault(image, []).extend(row.texts)
        labels.setdefault(image, set()).update(row.labels)
    if not texts:
        raise HashcliError(f"{path} lists no pairs.")

    names = sorted(set().union(*labels.values()))
    columns = {name: column for column, name in enumerate(names)}
    matrix = np.zeros((len(texts), len(names)), np.uint8)
    for row_number, image in enumerate(texts):
        matrix[row_number, [columns[name] for name in labels[image]]] = 1
    unlabelled = sum(not own for own in labels.values()) if names else 0
    return ImageTextDataset(
        name=f"own-{path.stem}",
        ids=list(texts),
        images=[path.parent / image for image in texts],
        texts=list(texts.values()),
        labels=matrix if names else None,
        label_names=names,
        missing=f"{unlabelled:,} of {len(texts):,} photos have no labels; they are trained on, and not searched"
        if unlabelled
        else "",
    )


def _load_folder(folder: Path, *, without_texts: bool) -> ImageTextDataset:
    photos, sidecars = _find_photos(folder)
    texts: dict[Path, list[str]] = {}
    for sidecar, photo in sorted(sidecars.items()):
        texts.setdefault(photo, []).extend(text for _, text in read_lines(Path(sidecar)))
    kept = sorted(photo for photo in photos if without_texts or texts.get(photo))
    if not photos:
        raise HashcliError(f"{folder} holds no photos.", "Give a folder that holds photos, itself or in its folders.")
    if not kept:
        raise NoTextsError(
            f"{folder} holds {len(photos):,} photos, and none has a text.",
            "Put the texts of photo.jpg into photo.txt beside it, one per line.",
        )
    left_out = len(photos) - len(kept)
    return ImageTextDataset(
        name=f"own-{folder.resolve().name}",
        ids=[path.relative_to(folder).as_posix() for path in kept],
        images=kept,
        texts=[texts.get(path, []) for path in kept],
        missing=f"{left_out:,} of {len(photos):,} photos are left out, having no text beside them" if left_out else "",
    )


def _find_photos(top: Path) -> tuple[set[Path], dict[str, Path]]:
    """The photos below a folder, and its sidecars with the photo of each. Hidden files and folders are left out.

    Links are followed after all real files and folders, and each folder and linked file is taken once, so that loops
    end and a photo is known by its real place. What cannot be read is passed over.
    """
    photos: set[Path] = set()
    sidecars: dict[str, Path] = {}
    folders, links = [str(top)], deque[str]()
    seen_folders: set[tuple[int, int]] = set()
    seen_files: set[tuple[int, int]] = set()
    while folders or links:
        path = folders.pop() if folders else links.popleft()
        if not os.path.isdir(path):
            if _is_photo(path) and os.path.isfile(path) and _identity(path) not in seen_files:
                seen_files.add(_identity(path))
                photos.add(Path(path))
            continue
        try:
            if _identity(path) in seen_folders:
                continue
            seen_folders.add(_identity(path))
            with os.scandir(path) as scanned:
                entries = sorted((entry for entry in scanned if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError:
            continue
        by_stem = photos_by_stem(entry.name for entry in entries if _is_photo(entry.name))
        below = []
        for entry in entries:
            if holds_lines(entry.name) and entry.is_file():
                if photo := photo_of(entry.name, by_stem):
                    seen_files.add(_identity(entry.path))
                    sidecars[entry.path] = Path(path, photo)
            elif entry.is_symlink():
                links.append(entry.path)
            elif entry.is_dir():
                below.append(entry.path)
            elif _is_photo(entry.name) and entry.is_file():
                seen_files.add(_identity(entry.path))
                photos.add(Path(entry.path))
        folders.extend(reversed(below))
    return photos, sidecars


def _is_photo(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in photo_suffixes()


def _identity(path: str) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_dev, state.st_ino
