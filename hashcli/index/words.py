"""The words of queries and of what is said about photos: how they are told apart, and which photos come first.

A photo comes first if its texts, its name and its folders together hold every word of the query but small and common
ones, or every name in it that some photo holds. A name is a word that the hash model takes to pieces, such as
Oberstdorf, or one with three digits, as IMG_4711 and receipt-2021 have. It reads other words itself, and which photos
have texts is chance: a photo that holds some of them gains by each, and the more so the fewer photos hold it, but does
not come before all that have no texts. A word that is no name is common if more than a tenth of all photos, and more
than 20, hold it, as those in a folder "Camera" do, and says nothing about what they show.

What was read in a picture may be any text, and long. Photos that hold every word, and no name, only with what was read
in them come first if they are few.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache, partial, reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from hashcli.index.catalog import Document
    from hashcli.index.query import Query

_ACCENTS = re.compile("[\u0300-\u036f]")
_ASCII_WORD = re.compile("[a-z0-9]+")
_NUMBER = re.compile(r"\d{3}")
# What a word adds to the score of a photo that holds it, as evidence that this is the photo looked for: the logarithm
# of how much more often such a photo holds it (in a tenth of all cases) than any photo does, times a weight that was
# chosen on captions of Flickr8k, where all photos, a fifth or a twentieth had other captions. The unit is the standard
# deviation that the score would have if bits were independent: the length of the query's output.
_SHARE, _WEIGHT = 0.1, 0.2
_FEW = 20  # so many photos are not too many to come first, however few there are in all
READ = "\u00b6"  # in front of a word that was read in a picture; no other word has it
_SMALL_WORDS = frozenset(
    """
    a about after all an and any are as at be been before being both but by can did do does each for from had has have
    he her here him his how i if in into is it its just me more most my no not of off on one onto or other our out over
    own photo photograph picture image s she so some such than that the their them then there these they this those
    through to too under up very was we were what when where which while who whom whose why will with without you your
    """.split()  # noqa: SIM905 - a list of a hundred strings would be a page long
)


class Words(StrEnum):
    """What the words of a query do beside its meaning: photos that hold them come first, are the only answers, or are
    not looked for."""

    FIRST = "first"
    ONLY = "only"
    OFF = "off"


@dataclass(frozen=True)
class QueryWords:
    """The words of a query: those to look for, which of these are names, and those to keep away from. Small words are
    left out. `as_written` are the plurals that `wanted` has as singulars."""

    wanted: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    unwanted: tuple[str, ...] = ()
    as_written: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, query: "Query", is_whole: Callable[[str], bool]) -> "QueryWords":
        """Of a query; `is_whole` is whether the hash model reads a word as a whole."""
        parts = [(part.weight > 0, _plain_words(str(part.content))) for part in query.parts if not part.is_image]
        wanted, unwanted = (
            [word for is_wanted, words in parts if is_wanted is which for word in words if not _is_small(word)]
            for which in (True, False)
        )
        names = [word for word in wanted if _NUMBER.search(word) or not (is_whole(word) or is_whole(_singular(word)))]
        plurals = {singular: word for word in wanted if (singular := _singular(word)) != word}
        return cls(_distinct(wanted), frozenset(map(_singular, names)), _distinct(unwanted), plurals)


class Holders(NamedTuple):
    """The ids of the photos that hold a word, int64 [n] in ascending order: `written` in texts about them, their names
    or their folders, and `all` of them, also those in whose pictures it was read."""

    written: np.ndarray
    all: np.ndarray


@dataclass(frozen=True)
class WordHits:
    """The photos that hold each word of a query, of so many `photos` in all."""

    words: QueryWords
    holders: Mapping[str, Holders]
    photos: int

    def ids(self, *, with_common: bool) -> np.ndarray:
        """Of the photos that hold all words that matter, int64 [n] in ascending order; `with_common`, common words do
        too."""
        holders = self.holders
        most = max(_FEW, _SHARE * self.photos)
        names = [word for word in self.words.wanted if word in self.words.names and len(holders[word].all)]
        words = names or [word for word in self.words.wanted if with_common or len(holders[word].all) <= most]
        if not words:
            return np.empty(0, np.int64)
        first, written = _common(holders[word].all for word in words), _common(holders[word].written for word in words)
        if not (names or with_common or len(first) - len(written) <= _FEW):
            first = written
        for word in self.words.unwanted:
            first = np.setdiff1d(first, holders[word].all, assume_unique=True)
        return np.asarray(first)

    def evidence(self, ids: np.ndarray) -> np.ndarray:
        """What the words that each of some photos holds add to its score, float64 [n]."""
        added = np.zeros(len(ids))
        for word in self.words.wanted:
            holders = self.holders[word].all
            if 0 < len(holders) < _SHARE * self.photos:
                added[np.isin(ids, holders)] += _WEIGHT * np.log(_SHARE * self.photos / len(holders))
        return added

    def held_by(self, ids: np.ndarray) -> list[tuple[str, ...]]:
        """The words to look for that each of some photos holds, as they are written in the query."""
        holders = [(word, self.holders[word].all) for word in self.words.wanted]
        held = [(self.words.as_written.get(word, word), _are_among(ids, of)) for word, of in holders if len(of)]
        return [tuple(word for word, of in held if of[row]) for row in range(len(ids))]


def words_of(text: str) -> Iterator[str]:
    """The words of a text, without accents and in lower case; a plural in s is its singular. Signs, among them - and _,
    stand between words."""
    return map(_singular, _plain_words(text))


def _plain_words(text: str) -> list[str]:
    text = text.lower()
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text).casefold())
    if text.isascii():
        return _ASCII_WORD.findall(text)
    return "".join(char if _is_letter(char) else " " for char in text).split()


def _is_small(word: str) -> bool:
    return word in _SMALL_WORDS or _singular(word) in _SMALL_WORDS


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_singular, words)))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word


@lru_cache(1 << 14)
def _is_letter(char: str) -> bool:
    """Or a digit, or a sign that belongs to the letter before it, as vowels do in Hindi."""
    return unicodedata.category(char)[0] in "LNM"


def _are_among(some: np.ndarray, ids: np.ndarray) -> list[bool]:
    """Which of some ids are among others, of which there is one at least, in ascending order."""
    places = np.minimum(np.searchsorted(ids, some), len(ids) - 1)
    return [bool(is_there) for is_there in ids[places] == some]


def _common(ids: Iterable[np.ndarray]) -> np.ndarray:
    """The ids that are in each of some arrays in ascending order."""
    return np.asarray(reduce(partial(np.intersect1d, assume_unique=True), ids))


def terms_of(document: "Document") -> set[str]:
    """The words about a photo, and those that were read in it with READ in front of them."""
    written = {word for text in document.texts for word in words_of(text)}
    return written | {READ + word for text in document.read for word in words_of(text)}


def holders_in(documents: Iterable["Document"], terms: Iterable[str]) -> dict[str, np.ndarray]:
    """The ids of the photos that hold each of some terms, by going through all that is said about every photo, in
    ascending order of their ids."""
    found: dict[str, list[int]] = {term: [] for term in terms}
    words = {term.removeprefix(READ) for term in found}
    for document in documents:
        if any(_may_hold(text, words) for text in (*document.texts, *document.read)):
            for term in terms_of(document) & found.keys():
                found[term].append(document.id)
    return {term: np.array(ids, np.int64) for term, ids in found.items()}


def _may_hold(text: str, words: Iterable[str]) -> bool:
    """False only if it does not: in a tenth of the time that its words take."""
    if not text.isascii():
        return True
    text = text.lower()
    return any(word in text for word in words)
