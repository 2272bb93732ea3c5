"""What people look for, as they write it: in the options of a search, or in a file of many searches."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hashcli.cli.common import read_lines, stop_with
from hashcli.errors import reason_of

if TYPE_CHECKING:
    import numpy as np

    from hashcli.index.query import Part, Query

_WEIGHT = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)):\s*(?=[^\s\d])")  # 16:9 is no weight
_KEYS = ("text", "image", "not", "not_image")


def query(
    words: str = "",
    texts: Sequence[str] = (),
    images: Sequence[str] = (),
    nots: Sequence[str] = (),
    not_images: Sequence[str] = (),
) -> "Query":
    """One query of all of these. Each but `words` may begin with a weight. Raises ValueError when nothing is wanted."""
    from hashcli.index.query import Part, Query

    wanted = [Part(words, is_image=False)] if words else []
    wanted += [_part(words, is_image=False) for words in texts] + [_part(photo, is_image=True) for photo in images]
    unwanted = [_part(words, is_image=False) for words in nots] + [_part(photo, is_image=True) for photo in not_images]
    if not wanted:
        raise ValueError("nothing to look for")
    if not all(part.what.strip() for part in (*wanted, *unwanted)):
        raise ValueError("an empty query")
    name = " + ".join(part.what for part in wanted) + "".join(f" - {part.what}" for part in unwanted)
    return Query(name, (*wanted, *(part._replace(weight=-part.weight) for part in unwanted)))


def begins_with_weight(words: str) -> bool:
    return _WEIGHT.match(words) is not None


def _part(given: str, *, is_image: bool) -> "Part":
    from hashcli.index.query import Part

    weight = _WEIGHT.match(given)
    if weight is None or (is_image and os.path.exists(given)):
        return Part(given, is_image)
    if float(weight[1]) <= 0:
        raise ValueError(f"the weight in {given} is not above 0; --not keeps away from something")
    return Part(given[weight.end() :], is_image, float(weight[1]))


def read_queries(source: str) -> Iterator[tuple[int, "Query"]]:
    """The number of each line and its query: words, or a JSON object with text, image, not, not_image.

    Empty lines are passed over. What is not a query ends the program with 2, naming the line.
    """
    for number, line in enumerate(read_lines(source), start=1):
        if not line.strip():
            continue
        try:
            yield number, _of_line(line)
        except ValueError as error:
            stop_with(
                f"{'stdin' if source == '-' else source}, line {number}: {error}.",
                'A line is words, or JSON such as {"text": "dog", "image": "dog.jpg", "not": "snow"}.',
                status=2,
            )


def _of_line(line: str) -> "Query":
    if not line.lstrip().startswith("{"):
        return query(line.strip())
    told = json.loads(line)
    if unknown := sorted(told.keys() - {*_KEYS}):
        raise ValueError(f"unknown key {unknown[0]}")
    texts, images, nots, not_images = (
        [value] if isinstance(value, str) else value for value in (told.get(key, []) for key in _KEYS)
    )
    for parts in (texts, images, nots, not_images):
        if not (isinstance(parts, list) and all(isinstance(part, str) for part in parts)):
            raise ValueError("each key holds a string or a list of strings")
    return query("", texts, images, nots, not_images)


def read_codes(source: str, bits: int) -> "tuple[list[str], np.ndarray]":
    """Codes as `hashcli encode --out` writes them: a name for each row, and -1 and +1 as float32 [rows, bits]."""
    import numpy as np

    from hashcli.hashmodel.codes import unpack

    path = Path(source)
    try:
        codes = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is not an array of numbers as NumPy writes it"
        stop_with(f"{source} cannot be read as codes: {reason}.", "hashcli encode --out codes.npy writes such a file.")
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] * 8 != bits:
        stop_with(
            f"{source} holds {codes.dtype} {list(codes.shape)}, not uint8 [rows, {bits // 8}], "
            f"the {bits}-bit codes of this index.",
            "Encode with the model of the index: hashcli encode --model NAME --out codes.npy",
        )
    names = [f"row {row}" for row in range(1, len(codes) + 1)]
    if path.with_suffix(".jsonl").exists():
        rows = [json.loads(line) for line in read_lines(str(path.with_suffix(".jsonl")))]
        if len(rows) == len(names):
            names = [row.get("text") or row.get("path") or name for row, name in zip(rows, names, strict=True)]
    return names, unpack(codes)
