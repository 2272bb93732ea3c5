"""Bags of words: which words of a vocabulary a text has. The vocabulary is given, or built from training texts.

A word is a run of letters and digits of any script, in lower case. Nothing is stemmed and no word is left out for being
common.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.errors import HashcliError, reason_of

_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text.lower())


def texts_of(dataset: ImageTextDataset, rows: np.ndarray) -> list[str]:
    """All texts of some rows of a dataset, for example of `split.train`."""
    return [text for row in rows.tolist() for text in dataset.texts[row]]


def build_vocabulary(training_texts: Iterable[str], most: int | None = None) -> list[str]:
    """The `most` words that the most training texts have: the most frequent first, equals in alphabetical order.

    Give it texts of training rows only: the model cannot have learned a word that only a query has.
    """
    uses = Counter(word for text in training_texts for word in set(words_of(text)))
    return sorted(uses, key=lambda word: (-uses[word], word))[:most]


def read_vocabulary(path: Path) -> list[str]:
    """A vocabulary from a file, one word a line. Raises HashcliError naming a line that is not one new word."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HashcliError(
            f"{path} cannot be read: {reason_of(error)}.", "Give a file with one word per line."
        ) from error
    words: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        found = words_of(line)
        if len(found) != 1:
            raise HashcliError(
                f"{path}:{number}: not a word: {line!r}.", "Write one word per line: letters and digits."
            )
        if found[0] in words:
            raise HashcliError(f"{path}:{number}: {found[0]!r} is already in line {words[found[0]]}.")
        words[found[0]] = number
    if not words:
        raise HashcliError(f"{path} holds no words.")
    return list(words)


def bag_of_words(texts: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """Which words each text has, uint8 [texts, words] of 0 and 1."""
    columns = {word: column for column, word in enumerate(vocabulary)}
    bags = np.zeros((len(texts), len(columns)), np.uint8)
    for row, text in enumerate(texts):
        bags[row, [columns[word] for word in words_of(text) if word in columns]] = 1
    return bags
