"""Your own photos and texts: a file that lists them, or a folder of photos with a text file beside each.

    pairs.jsonl     {"image": "beach/1.jpg", "text": "a dog on the beach", "labels": ["dog", "beach"]}
                    or "texts": [...] for several of one photo; "labels" may be left out
    pairs.csv       image,text,labels
                    beach/1.jpg,a dog on the beach,dog;beach
    a folder        beach/1.jpg with beach/1.txt, one text a line; no labels

Paths are relative to the file. A photo may stand in several rows: its texts and labels are put together. Where some
photos have labels, those without are left out.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hashcli.datasets.pairs import Pairs
from hashcli.errors import HashcliError

LISTS = (".jsonl", ".csv")


def load(path: Path) -> Pairs:
    """Read a list of pairs or a folder of photos. Raises HashcliError naming the line that will not do."""
    if path.is_dir():
        return _load_folder(path)
    if path.suffix.lower() not in LISTS:
        raise HashcliError(f"{path} is neither a folder nor a list of pairs.", f"A list ends in {' or '.join(LISTS)}.")

    texts: dict[str, list[str]] = {}
    labels: dict[str, set[str]] = {}
    try:
        for place, row in _json_lines(path) if path.suffix.lower() == ".jsonl" else _csv_rows(path):
            image, own_texts, own_labels = _checked(place, row)
            if not (path.parent / image).is_file():
                raise HashcliError(f"{place}: there is no photo {path.parent / image}.")
            texts.setdefault(image, []).extend(own_texts)
            labels.setdefault(image, set()).update(own_labels)
    except UnicodeDecodeError as error:
        raise HashcliError(f"{path} is not UTF-8 text: {error}.") from error
    if not texts:
        raise HashcliError(f"{path} lists no pairs.")

    names = sorted(set().union(*labels.values()))
    kept = [image for image in texts if labels[image] or not names]
    columns = {name: column for column, name in enumerate(names)}
    matrix = np.zeros((len(kept), len(names)), np.uint8)
    for row_number, image in enumerate(kept):
        matrix[row_number, [columns[name] for name in labels[image]]] = 1
    left_out = len(texts) - len(kept)
    return Pairs(
        name=f"own-{path.stem}",
        ids=kept,
        images=[path.parent / image for image in kept],
        texts=[texts[image] for image in kept],
        labels=matrix if names else None,
        label_names=names,
        missing=f"{left_out:,} of {len(texts):,} photos are left out, having no labels" if left_out else "",
    )


def _load_folder(folder: Path) -> Pairs:
    from hashcli.index.scan import photo_suffixes

    suffixes = photo_suffixes()
    photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    texts = {path: _lines(path.with_suffix(".txt")) for path in photos}
    kept = [path for path in photos if texts[path]]
    if not kept:
        raise HashcliError(
            f"{folder} holds {len(photos):,} photos, and none has a text.",
            "Put the texts of photo.jpg into photo.txt beside it, one a line.",
        )
    left_out = len(photos) - len(kept)
    return Pairs(
        name=f"own-{folder.resolve().name}",
        ids=[path.relative_to(folder).as_posix() for path in kept],
        images=kept,
        texts=[texts[path] for path in kept],
        missing=f"{left_out:,} of {len(photos):,} photos are left out, having no text beside them" if left_out else "",
    )


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise HashcliError(f"{path} is not UTF-8 text: {error}.") from error


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its place, `file:line`."""
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise HashcliError(f"{path}:{number}: not JSON: {error}.", "One object a line.") from error
            if not isinstance(row, dict):
                raise HashcliError(f"{path}:{number}: not an object: {line.strip()}.", "One object a line.")
            yield f"{path}:{number}", row


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its place, `file:line`, the line being the row's last."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            if not {"image", "text"} <= set(reader.fieldnames or []):
                raise HashcliError(f"{path}:1: no columns named image and text.", "First line: image,text,labels")
            for row in reader:
                place = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise HashcliError(f"{place}: not as many fields as the first line has.", 'Quote texts with ",".')
                labels = [label.strip() for label in row.get("labels", "").split(";") if label.strip()]
                yield place, {"image": row["image"], "text": row["text"], "labels": labels}
        except csv.Error as error:
            raise HashcliError(f"{path}:{reader.reader.line_num}: not CSV: {error}.") from error


def _checked(place: str, row: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    """Photo, texts and labels of a row."""
    image, labels = row.get("image"), row.get("labels") or []
    texts = row["texts"] if "texts" in row else [row.get("text")]
    if not isinstance(image, str) or not image:
        raise HashcliError(f"{place}: no photo.", '"image" is its path, relative to the file.')
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise HashcliError(f"{place}: no text.", '"text" is a text that is not empty, "texts" a list of such.')
    if isinstance(labels, str):
        labels = [label.strip() for label in labels.split(";") if label.strip()]
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        raise HashcliError(f"{place}: labels that are not names.", '"labels" is a list of names.')
    return Path(image).as_posix(), [" ".join(text.split()) for text in texts], labels
