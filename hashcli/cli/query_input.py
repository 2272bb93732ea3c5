"""Queries as people write them: in the options of a search, or many in a file."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashcli.cli.console import UsageError
from hashcli.cli.inputs import read_lines
from hashcli.errors import HashcliError, reason_of
from hashcli.parsing import parse_json

if TYPE_CHECKING:
    from hashcli.hashmodel.model import HashModel
    from hashcli.index.query import Query

_WEIGHT = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)):\s*(?=[^\s\d])")  # 16:9 is not a weight
_SUFFIX = re.compile(r"[^\s]\.\w{2,5}$")
_KEYS = ("text", "image", "not", "not_image")

Weighted = tuple[str, float]


@dataclass(frozen=True)
class WrittenQuery:
    """A query whose photos are not opened yet: what to look for and what to steer away from, each with its weight."""

    texts: list[Weighted]
    images: list[Weighted]
    nots: list[Weighted]
    not_images: list[Weighted]

    @property
    def name(self) -> str:
        """How results refer to it."""
        wanted = " + ".join(entry for entry, _ in (*self.texts, *self.images))
        return wanted + "".join(f" - {entry}" for entry, _ in (*self.nots, *self.not_images))

    def open(self, model: "HashModel") -> "Query":
        """The query, its photos fetched from addresses and stdin. Raises HashcliError naming an unreadable one."""
        from hashcli.index.query import Query

        return Query(**self.entries(model), name=self.name)

    def entries(self, model: "HashModel") -> dict[str, Any]:
        """The arguments of the query: its entries, with their photos fetched. Raises as `open` does."""
        from hashcli.cli.photo_source import open_photo

        return {
            "texts": self.texts,
            "images": [(open_photo(where, model), weight) for where, weight in self.images],
            "without_texts": self.nots,
            "without_images": [(open_photo(where, model), weight) for where, weight in self.not_images],
        }


def written_query(
    words: str = "",
    texts: Sequence[str] = (),
    images: Sequence[str] = (),
    nots: Sequence[str] = (),
    not_images: Sequence[str] = (),
) -> WrittenQuery:
    """One query of all these; each but `words` may begin with a weight. Raises ValueError if nothing is looked for."""
    query = WrittenQuery(
        [(words, 1.0)] * bool(words) + [_weighted(text) for text in texts],
        [_weighted(image, is_path=True) for image in images],
        [_weighted(text) for text in nots],
        [_weighted(image, is_path=True) for image in not_images],
    )
    if not (query.texts or query.images):
        raise ValueError("nothing to look for")
    if not all(entry.strip() for entries in vars(query).values() for entry, _ in entries):
        raise ValueError("an empty query")
    return query


def begins_with_weight(words: str) -> bool:
    return _WEIGHT.match(words) is not None


def looks_like_photo(word: str) -> bool:
    """Whether a word without spaces at its end is the name of a photo, going by its ending."""
    if not _SUFFIX.search(word):  # nearly all words, for which no list of formats has to be loaded
        return False
    from hashcli.index.files.scan import is_photo

    return is_photo(word)


def _weighted(given: str, *, is_path: bool = False) -> Weighted:
    weight = _WEIGHT.match(given)
    if weight is None or (is_path and os.path.exists(given)):
        return given, 1.0
    if float(weight[1]) <= 0:
        raise ValueError(f"the weight in {given} is not above 0; use --not to steer away from something")
    return given[weight.end() :], float(weight[1])


def read_queries(source: str) -> Iterator[tuple[int, WrittenQuery]]:
    """The number of each line and its query: words, or a JSON object with text, image, not, not_image.

    Empty lines are skipped. Raises UsageError naming a line that is not a query.
    """
    for number, line in enumerate(read_lines(source), start=1):
        if not line.strip():
            continue
        try:
            yield number, _query_of_line(line)
        except ValueError as error:
            raise UsageError(
                f"{'stdin' if source == '-' else source}, line {number}: {error}.",
                'A line is words, or JSON such as {"text": "dog", "image": "dog.jpg", "not": "snow"}.',
            ) from error


def _query_of_line(line: str) -> WrittenQuery:
    if not line.lstrip().startswith("{"):
        return written_query(line.strip())
    keys = parse_json(line)
    if unknown := sorted(keys.keys() - {*_KEYS}):
        raise ValueError(f"unknown key {unknown[0]}")
    lists = [[value] if isinstance(value, str) else value for value in (keys.get(key, []) for key in _KEYS)]
    for entries in lists:
        if not (isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)):
            raise ValueError("each key holds a string or a list of strings")
    return written_query("", *lists)


def read_codes(source: str, bits: int) -> "list[Query]":
    """A query for each of the codes that `hashcli encode --out` wrote, named as the .jsonl beside them says.

    Raises HashcliError when the file does not hold codes of `bits` bits.
    """
    import numpy as np

    from hashcli.arrays import read_npy
    from hashcli.hashmodel.codes import unpack
    from hashcli.index.query import Query

    path = Path(source)
    try:
        codes = read_npy(path)
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is not a NumPy array of numbers"
        raise HashcliError(
            f"{source} cannot be read as codes: {reason}.", "hashcli encode --out codes.npy writes such a file."
        ) from error
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] * 8 != bits:
        raise HashcliError(
            f"{source} holds {codes.dtype} {list(codes.shape)}, not uint8 [rows, {bits // 8}], "
            f"the {bits}-bit codes of this index.",
            "Encode with the model of the index: hashcli encode --model NAME --out codes.npy",
        )
    names = [f"row {row}" for row in range(1, len(codes) + 1)]
    if path.with_suffix(".jsonl").exists():
        rows = _names(path.with_suffix(".jsonl"))
        if len(rows) == len(names):
            names = [row or name for row, name in zip(rows, names, strict=True)]
    return [Query(output=output, name=name) for output, name in zip(unpack(codes), names, strict=True)]


def _names(path: Path) -> list[str]:
    """What the .jsonl beside codes calls each of them; empty where it has no name."""
    names = []
    for number, line in enumerate(read_lines(str(path)), start=1):
        try:
            row = parse_json(line)
            name = row.get("text") or row.get("path") or ""
            if not isinstance(name, str):
                raise ValueError(f"{name!r:.40} is not a name")
        except (ValueError, AttributeError) as error:
            raise HashcliError(
                f"{path}, line {number}: {reason_of(error)}.", "hashcli encode --out writes it beside the codes."
            ) from error
        names.append(name)
    return names
