"""Captions in files, as people keep them beside their photos. The index and custom datasets read them here.

    a sidecar        dog.txt or dog.jpg.txt beside dog.jpg: each line is a text about that photo
    a captions file  captions.jsonl    {"image": "beach/1.jpg", "text": "a dog on the beach"}
                                       or "caption": ..., or "texts": [...] for several of one photo
                     captions.csv      image,text (or image,caption)
                     Paths are relative to the file; "labels" name what the photo shows, and may be left out.

All are UTF-8. Empty lines are skipped, and white space around a text is removed.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hashcli.errors import HashcliError
from hashcli.file_names import composed
from hashcli.parsing import parse_json

LINES_SUFFIX = ".txt"
CAPTIONS_SUFFIXES = (".jsonl", ".csv")


class TextFileError(HashcliError):
    """A text file with content that cannot be used; `reason` says what is wrong with it, without its path."""

    def __init__(self, path: Path, line: int, reason: str, remedy: str = "") -> None:
        super().__init__(f"{path}:{line}: {reason}." if line else f"{path} is {reason}.", remedy)
        self.reason = f"line {line}: {reason}" if line else reason


class CaptionRow(NamedTuple):
    """A row of a captions file: its line, the photo as named there, the texts about it, and its labels, if any."""

    line: int
    image: str
    texts: list[str]
    labels: list[str]


def holds_lines(path: str) -> bool:
    """Whether each line of a file is a text, going by the file's name. Beside a photo of that name, it is a sidecar."""
    return os.path.splitext(path)[1].lower() == LINES_SUFFIX


def photos_by_stem(names: Iterable[str]) -> dict[str, str]:
    """The photos of one folder by the names of their sidecars without .txt: dog.jpg as `dog` and as `dog.jpg`.

    Several photos may share a stem, as a camera's RAW file and JPEG do. The sidecar then belongs to the one that can be
    opened without an extra, and among those to the first by name.
    """
    from hashcli.hashmodel.formats import EXTRA_SUFFIXES

    photos: dict[str, str] = {}
    names = sorted(names, key=lambda name: (os.path.splitext(name)[1].lower() in EXTRA_SUFFIXES, name))
    for form in (str, composed):  # a name that is exactly the same comes first
        for name in names:
            photos.setdefault(form(name), name)
            photos.setdefault(form(os.path.splitext(name)[0]), name)
    return photos


def photo_of(sidecar: str, by_stem: Mapping[str, str]) -> str | None:
    """The photo, of `photos_by_stem`, to which a sidecar of this name belongs; None if it is none of a photo."""
    stem = os.path.splitext(sidecar)[0]
    return by_stem.get(stem) or by_stem.get(composed(stem))


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line that is not empty, with its number from 1. Raises TextFileError when the file is not UTF-8."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            yield from ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error


def read_captions(path: Path, *, allow_empty: bool = False) -> Iterator[CaptionRow]:
    """The rows of a .jsonl or .csv file, in order.

    Raises TextFileError naming the first row that cannot be used. A row with an empty text is one of these, unless
    `allow_empty`: then the empty text is left out and the row is kept.
    """
    read = _json_lines if path.suffix.lower() == ".jsonl" else _csv_rows
    try:
        for line, row in read(path):
            yield _caption_row(path, line, row, allow_empty=allow_empty)
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
                row = parse_json(line)
            except ValueError as error:
                raise TextFileError(path, number, f"not JSON: {error}", "Write one object a line.") from error
            if not isinstance(row, dict):
                raise TextFileError(path, number, f"not an object: {line.strip()[:80]}", "Write one object a line.")
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
                yield reader.line_num, row
        except csv.Error as error:
            raise TextFileError(path, reader.reader.line_num, f"not CSV: {error}") from error


def _caption_row(path: Path, line: int, row: dict[str, Any], *, allow_empty: bool) -> CaptionRow:
    image = row.get("image")
    if not isinstance(image, str) or not _can_be_a_path(image):
        raise TextFileError(path, line, "no photo", '"image" is the path of a photo, relative to the file.')
    texts = _texts(path, line, row, allow_empty=allow_empty)
    return CaptionRow(line, image, texts, _labels(path, line, row))


def _texts(path: Path, line: int, row: dict[str, Any], *, allow_empty: bool) -> list[str]:
    texts = row["texts"] if "texts" in row else [row.get("text", row.get("caption"))]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TextFileError(path, line, "no text", '"text" is a text, and "texts" a list of texts.')
    written = [" ".join(text.split()) for text in texts if text.strip()]
    if not allow_empty and (len(written) < len(texts) or not texts):
        raise TextFileError(path, line, "no text", 'Neither "text" nor "texts" may be empty.')
    return written


def _labels(path: Path, line: int, row: dict[str, Any]) -> list[str]:
    """A list of names, or names in one string with semicolons between."""
    labels = row.get("labels") or []
    if isinstance(labels, str):
        labels = [label.strip() for label in labels.split(";") if label.strip()]
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        raise TextFileError(path, line, "labels that are not names", '"labels" is a list of names.')
    return labels


def _can_be_a_path(name: str) -> bool:
    try:
        return bool(name) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
