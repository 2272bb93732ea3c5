"""What a search gives back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, overload

from hashcli.errors import HashcliError

if TYPE_CHECKING:
    from hashcli.index.query import Query


@dataclass(frozen=True)
class SearchResult:
    """One answer.

    rank        its place among the answers of its kind, from 1
    kind        "image" for a photo, or "text"
    path        of the photo, or of the file that the text comes from; absolute
    distance    how many bits of its code differ from the query's, of `bits` in all; None if the hash model knows no
                word of the query
    text, line  of a text: its words, and its line in the file, from 1 (None for a description inside a photo)
    photo       of a text: the path of the photo it is about, if it is about one
    taken       of a photo: when it was taken, in seconds since 1970 of its local time; None if nothing says so
    taken_from  which of the photo's dates this is: "DateTimeOriginal", "XMP" or "GPS", say
    modified    when the file was last changed, in seconds since 1970 of local time: filters by date use it for a photo
                that does not say when it was taken
    latitude, longitude   of a photo: where it was taken, in degrees, north and east positive; None if nothing says so
    words       of a photo: the words of the query that stand in the texts about it, its name or its folders
    is_missing  whether the file is gone: it was moved or deleted after the index was last brought up to date
    copies      how many identical copies of it are not answers of their own: photos with the same content, or the same
                words about one photo
    machine     in a collection that several machines fill, the label of the one that holds the file; its path is that
                on this machine, or the address by which it was published
    id          its number in the catalog of the index, which no other item will get; None for one made by hand. Results
                that differ in nothing else are equal
    """

    rank: int
    kind: str
    path: str
    distance: int | None
    bits: int
    text: str | None = None
    line: int | None = None
    photo: str | None = None
    taken: int | None = None
    taken_from: str | None = None
    modified: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    words: tuple[str, ...] = ()
    is_missing: bool = False
    copies: int = 0
    machine: str | None = None
    id: int | None = field(default=None, compare=False)

    @property
    def date(self) -> int | None:
        """`taken` or, of a photo that does not say when it was taken, `modified`."""
        return self.modified if self.taken is None else self.taken

    @property
    def similarity(self) -> float | None:
        """The share of bits that agree, from 0 to 1; None without a distance."""
        return None if self.distance is None else 1 - self.distance / self.bits

    @property
    def picture(self) -> str | None:
        """The photo that shows it: itself, or the one that a text is about; None for a text about none."""
        return self.path if self.text is None else self.photo


class WhyNone(Enum):
    """Why a search has no results."""

    TOO_FAR = "items are there, and none is near enough"
    FILTERED = "the filter leaves none"
    NO_ITEMS = "the index holds no items of this kind"
    NO_KNOWN_WORDS = "the hash model knows no word of the query"
    NO_WORDS = "no item that passes the filter holds the words"


@dataclass(frozen=True)
class SearchResults(Sequence[SearchResult]):
    """The answers to one query: a sequence of `SearchResult`, best first unless they were sorted otherwise. Each kind
    searched has its own ranks.

    query               what was searched for
    results             the answers, as a tuple
    nearest_distance    the distance in bits of the nearest item, even if that is too far away to be an answer; None if
                        there is no item
    why_none            if there are no answers, why
    unknown_words       words of the query that the hash model does not know. A text of the query in which it knows no
                        word is left out of the search; if there is nothing else, there are no answers
    error               why a query of `search_many` could not be encoded: its photo cannot be read, say. There are no
                        answers then, and `why_none` is None
    """

    query: "Query"
    results: tuple[SearchResult, ...] = ()
    nearest_distance: int | None = None
    why_none: WhyNone | None = None
    unknown_words: tuple[str, ...] = ()
    error: HashcliError | None = None

    @property
    def words_not_found(self) -> list[str]:
        """The unknown words that no answer has in its texts, name or folders either."""
        if not self.unknown_words:
            return []  # without loading what tells words apart
        from hashcli.index.words import words_of

        held = {word for result in self.results for held in result.words for word in words_of(held)}
        return [word for word in self.unknown_words if not (parts := {*words_of(word)}) or not parts <= held]

    @overload
    def __getitem__(self, index: int) -> SearchResult: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SearchResult, ...]: ...
    def __getitem__(self, index: int | slice) -> SearchResult | tuple[SearchResult, ...]:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)
