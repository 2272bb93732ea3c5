"""Texts in files, as people keep them beside their photos.

    a sidecar        dog.txt or dog.jpg.txt beside dog.jpg: what each line says is about that photo
    a captions file  captions.jsonl    {"image": "beach/1.jpg", "text": "a dog on the beach"}
                                       or "caption": ..., or "texts": [...] for several of one photo
                     captions.csv      image,text (or image,caption): paths are relative to the file
    any other .txt   each line a text, about no photo

Lines and captions without words are passed over, and so is white space around and within a text. All are UTF-8.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hashcli.errors import HashcliError

LINES = ".txt"
CAPTIONS = (".jsonl", ".csv")
MAX_CHARACTERS = 2000  # of a text that is kept; a model reads less


class TextFileError(HashcliError):
    """A text file that will not do; `reason` is what is wrong with it, without its path."""

    def __init__(self, path: Path, line: int, reason: str, remedy: str = "") -> None:
        super().__init__(f"{path}:{line}: {reason}." if line else f"{path} is {reason}.", remedy)
        self.reason = f"line {line}: {reason}" if line else reason


class Text(NamedTuple):
    """A text, its line or row in its file, from 1 (None in a photo), and the absolute path of the photo it is about."""

    line: int | None
    text: str
    photo: str | None


class Row(NamedTuple):
    """A row of a captions file: the photo as it is named there, what is said about it, and its labels, if any."""

    line: int
    image: str
    texts: list[str]
    labels: list[str]


def is_text_file(path: str) -> bool:
    """Whether a file holds texts, by its name."""
    return os.path.splitext(path)[1].lower() in (LINES, *CAPTIONS)


def holds_lines(path: str) -> bool:
    """Whether each line of a file is a text, by its name: it may be a sidecar."""
    return os.path.splitext(path)[1].lower() == LINES


def photos_by_stem(names: Iterable[str]) -> dict[str, str]:
    """The photos of a folder by the names that their sidecars have without .txt. Where several share one, as a camera's
    RAW file and JPEG do, it is the one that is shown without an extra, and the first by name.
    """
    from hashcli.hashmodel.images import EXTRA_SUFFIXES

    photos: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (os.path.splitext(name)[1].lower() in EXTRA_SUFFIXES, name)):
        photos.setdefault(name, name)
        photos.setdefault(os.path.splitext(name)[0], name)
    return photos


def read_texts(path: str, photo: str | None) -> list[Text]:
    """The texts of a file; `photo` is what a sidecar is about. Raises TextFileError for content that will not do."""
    if holds_lines(path):
        return [Text(line, shortened(text), photo) for line, text in read_lines(Path(path))]
    real_folder = cache(os.path.realpath)
    texts = []
    for row in read_captions(Path(path), empty=True):
        folder, name = os.path.split(os.path.join(os.path.dirname(path), row.image))
        photo = os.path.join(real_folder(folder), name)
        texts += [Text(row.line, shortened(text), photo) for text in row.texts]
    return texts


def shortened(text: str) -> str:
    """A text as it is kept: on one line, no longer than MAX_CHARACTERS, and such that UTF-8 can hold it."""
    return " ".join(text[: 4 * MAX_CHARACTERS].split())[:MAX_CHARACTERS].encode(errors="replace").decode()


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line that is not empty, with its number. Raises TextFileError."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            yield from ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error


def read_captions(path: Path, *, empty: bool = False) -> Iterator[Row]:
    """The rows of a .jsonl or .csv file, in order. Raises TextFileError naming the line that will not do, one with an
    empty text too unless `empty`: then such texts are left out.
    """
    read = _json_lines if path.suffix.lower() == ".jsonl" else _csv_rows
    try:
        for line, row in read(path):
            yield _checked(path, line, row, empty=empty)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error


def _not_utf8(path: Path, error: UnicodeDecodeError) -> TextFileError:
    return TextFileError(path, 0, f"not UTF-8 text: {error}", "Convert it with iconv.")


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise TextFileError(path, number, f"not JSON: {error}", "One object a line.") from error
            if not isinstance(row, dict):
                raise TextFileError(path, number, f"not an object: {line.strip()[:80]}", "One object a line.")
            yield number, row


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row with the number of its last line."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            if not any({"image", text} <= set(reader.fieldnames or []) for text in ("text", "caption")):
                raise TextFileError(path, 1, "no columns named image and text", "First line: image,text,labels")
            for row in reader:
                if None in row or None in row.values():
                    raise TextFileError(
                        path, reader.line_num, "not as many fields as the first line has", 'Quote texts with ",".'
                    )
                labels = [label.strip() for label in row.get("labels", "").split(";") if label.strip()]
                yield reader.line_num, row | {"labels": labels}
        except csv.Error as error:
            raise TextFileError(path, reader.reader.line_num, f"not CSV: {error}") from error


def _checked(path: Path, line: int, row: dict[str, Any], *, empty: bool) -> Row:
    image, labels = row.get("image"), row.get("labels") or []
    texts = row["texts"] if "texts" in row else [row.get("text", row.get("caption"))]
    if not isinstance(image, str) or not _may_be_a_path(image):
        raise TextFileError(path, line, "no photo", '"image" is its path, relative to the file.')
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TextFileError(path, line, "no text", '"text" is a text, "texts" a list of such.')
    written = [" ".join(text.split()) for text in texts if text.strip()]
    if not empty and (len(written) < len(texts) or not texts):
        raise TextFileError(path, line, "no text", '"text" is a text that is not empty, "texts" a list of such.')
    if isinstance(labels, str):
        labels = [label.strip() for label in labels.split(";") if label.strip()]
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        raise TextFileError(path, line, "labels that are not names", '"labels" is a list of names.')
    return Row(line, image, written, labels)


def _may_be_a_path(name: str) -> bool:
    try:
        return bool(name) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
