"""The arguments of a search besides its query, from the options of the terminal or the parameters of an address."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashcli.index.distance_limit import DistanceLimit

if TYPE_CHECKING:
    from hashcli.index.filter import Filter
    from hashcli.index.search import KindName, Sort, WordsName

# By what people say that they look for.
KINDS: "dict[str, tuple[KindName, ...]]" = {"photos": ("image",), "texts": ("text",), "both": ("image", "text")}


@dataclass(frozen=True)
class SearchArguments:
    """The arguments of Index.search besides the query."""

    k: int
    kinds: "tuple[KindName, ...]"
    where: "Filter"
    limit: DistanceLimit | None
    words: "WordsName"
    reranked: int
    all_copies: bool
    sort: "Sort"


def chosen_limit(max_distance: int | None, within: int | None, *, everything: bool) -> DistanceLimit | None:
    """How far away a result may be; None for the default, by the hash model."""
    if everything:
        return DistanceLimit()
    return None if max_distance is None and within is None else DistanceLimit(max_distance, within)


def chosen_words(*, only: bool, off: bool) -> "WordsName":
    return "only" if only else "off" if off else "first"
