"""Text files as the index takes them: which files hold texts, and the texts of each as they are stored.

Captions files and sidecars are about photos (see hashcli/captions.py); in any other .txt file, each line is a text
about no photo. Captions without words are left out.
"""

import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hashcli.captions import CAPTIONS_SUFFIXES, LINES_SUFFIX, holds_lines, read_captions, read_lines
from hashcli.file_names import as_on_disk, composed_names

_CONTROLS, _NO_CHARACTER = re.compile("[\0-\x1f\x7f-\x9f]"), re.compile("[\ud800-\udfff\ufffd-\uffff]")
MAX_CHARACTERS = 2000  # of a stored text; a model reads fewer


class Text(NamedTuple):
    """A text, its line or row in its file, from 1 (None in a photo), and the absolute path of the photo it is about."""

    line: int | None
    text: str
    photo: str | None


def is_text_file(path: str) -> bool:
    """Whether a file holds texts, going by its name."""
    return os.path.splitext(path)[1].lower() in (LINES_SUFFIX, *CAPTIONS_SUFFIXES)


def read_texts(path: str, photo: str | None) -> list[Text]:
    """The texts of a file; `photo` is the one a sidecar belongs to. Raises TextFileError for content it cannot use."""
    if holds_lines(path):
        return [Text(line, shortened(text), photo) for line, text in read_lines(Path(path))]
    real_folder, names_in = cache(os.path.realpath), cache(composed_names)
    texts = []
    for row in read_captions(Path(path), allow_empty=True):
        folder, name = os.path.split(as_on_disk(os.path.join(os.path.dirname(path), row.image), names_in))
        photo = os.path.join(real_folder(folder), name)
        texts += [Text(row.line, shortened(text), photo) for text in row.texts]
    return texts


def shortened(text: str) -> str:
    """A text as it is stored: on one line and at most MAX_CHARACTERS long, without what is no character: controls,
    halves of surrogate pairs, and the sign for bytes that could not be decoded."""
    text = _NO_CHARACTER.sub("", _CONTROLS.sub(" ", text[: 4 * MAX_CHARACTERS]))
    return " ".join(text.split())[:MAX_CHARACTERS].rstrip()
