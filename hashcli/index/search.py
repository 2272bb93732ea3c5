"""The index as callers use it: search it, bring it up to date, ask what it holds.

`Index.search` decides every answer: encoding, filters, how far away an answer may be, the order, and the merging of
photos and texts. The terminal and Python get the same answers because both call it.
"""

import logging
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from math import inf
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, get_args

import numpy as np

from hashcli.errors import HashcliError, did_you_mean
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.prefetch import batched
from hashcli.hashmodel.registry import find_model
from hashcli.index.catalog import Catalog, IndexedModel, Item, Kind
from hashcli.index.catalog_file import IndexNotFoundError
from hashcli.index.code_index import (
    FILE_NAMES,
    BlockwiseCodes,
    Candidates,
    FaissCodeIndex,
    ListedCodes,
    SearchableCodes,
)
from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.files.dates import date_label
from hashcli.index.filter import CompiledFilter, Filter, wall_clock
from hashcli.index.locations import IndexLocation, is_index, locate
from hashcli.index.query import EncodedQuery, Query, encode
from hashcli.index.ranking import NO_DISTANCE, NOTHING, RERANKED, Neighbours, before, rank, reach
from hashcli.index.results import SearchResult, SearchResults, WhyNone
from hashcli.index.summary import PublishOptions, PublishSummary, UpdateOptions, UpdateSummary
from hashcli.index.update_callback import UpdateCallback
from hashcli.index.words import QueryWords, WordHits, Words
from hashcli.plain_files import size_of_files, state_of

if TYPE_CHECKING:
    from hashcli.hashmodel.device import Device
    from hashcli.index.duplicates import Duplicates

_BLOCK = 256  # queries that are encoded and answered together
_KINDS = {"image": Kind.IMAGE, "text": Kind.TEXT}

T = TypeVar("T")
KindName = Literal["image", "text"]
Kinds = KindName | Sequence[KindName]
Sort = Literal["rank", "date"]
WordsName = Literal["first", "only", "off"]
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Progress = Callable[[int, int], None] | UpdateCallback | None


class EmptyIndexError(HashcliError):
    """The index in `index_folder` has never held an item."""

    def __init__(self, index_folder: Path) -> None:
        super().__init__(f"The index in {index_folder} is empty.", "Add photos to it.")
        self.index_folder = index_folder


class ModelMissingError(HashcliError):
    """The hash model that an index was made with is not there."""


class ModelChangedError(HashcliError):
    """The hash model that an index was made with has been replaced by another one since."""


class ModelReplacedError(HashcliError):
    """An index has been given another hash model while it was searched."""


class DamagedSearchFilesError(HashcliError):
    """The files derived from the catalog in `index_folder` are missing, damaged, or not of its last change."""

    def __init__(self, index_folder: Path) -> None:
        super().__init__(
            f"The search files in {index_folder} are missing, damaged or out of date. Searches read the catalog "
            "instead, which takes longer.",
            "Update the index: that makes them anew.",
        )
        self.index_folder = index_folder


@dataclass(frozen=True)
class IndexInfo:
    """What an index holds: how many photos and texts can be found, and the hash model that made their codes.

    `texts_from` counts the texts by what they come from; `texts_left_out` are texts about photos that cameras and
    programs are known to write by themselves; `waiting` counts items that have no code yet; `roots` are the folders
    that an update without paths looks into; `excludes` are the patterns of what it leaves out, and `forgotten` the
    files and folders in its roots that were dropped; `reads_words` is whether updates read the words in photos;
    `refreshed` is when an update last came to its end, in seconds since 1970, None if only an older hashcli has done
    one; `bytes` is its size on disk.
    """

    folder: Path
    photos: int
    texts: int
    texts_from: dict[str, int]
    texts_left_out: int
    waiting: int
    roots: list[str]
    excludes: list[str]
    forgotten: list[str]
    reads_words: bool
    refreshed: int | None
    model: str | None
    fingerprint: str | None
    bits: int | None
    bytes: int


class ItemSource(Protocol):
    """Where a search looks up the items that it has found: a catalog, or a collection of several machines' items."""

    @property
    def model(self) -> IndexedModel | None:
        """The model of the codes."""

    def check_bits(self, bits: int) -> None:
        """Raise HashcliError if the codes have another length than their hash model gives."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Everything read within is of one moment, as far as that can be had."""

    def items(self, ids: Iterable[int]) -> dict[int, Item]:
        """What answers show of each item; those that are not there are left out."""


def open_index(
    folder: str | os.PathLike[str] | None = None, *, name: str | None = None, create: bool = False
) -> "Index":
    """Open the index in a folder, or the one of a name, or without either the default index as the terminal finds it.

    With `create` it need not be there yet: the first update makes it. In the place of a folder, an address such as
    milvus://127.0.0.1:19530/archive opens a collection that indexes are published to, which can be searched. Raises
    HashcliError when there is no index.

        with hashcli.open_index("photo-index", create=True) as index:
            index.update(["~/Pictures"])
            for result in index.search("dog on a beach", k=5):
                print(result.path, result.distance)
    """
    if folder is not None and name is not None:
        raise TypeError("open_index takes a folder or a name, not both")
    location = locate(folder, name)
    index = index_at(location)
    if location.collection:
        index.indexed_model  # noqa: B018 - raises where there is none
    elif not (create and not is_index(location.folder)):
        index.catalog  # noqa: B018 - raises where there is none
    return index


def index_at(location: IndexLocation) -> "Index":
    """The index at a place, which is opened when it is first read: one of this machine, or a collection."""
    if location.collection:
        from hashcli.index.milvus_index import PublishedIndex

        return PublishedIndex(location.collection)
    return Index(location.folder)


class Index:
    """An index of photos and texts; see `open_index`. Others may read it at the same time, and one may update it.

    Its files are opened when they are first read. Use an `Index` in one thread only, and close it, or use it in a
    `with` statement.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """The index in a folder, which need not be there yet: `open_index` checks that, and finds the default one."""
        self.folder = Path(os.path.realpath(os.path.expanduser(folder)))
        self._files: dict[tuple[str, ...], tuple[object, Any]] = {}

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. They are opened again if the index is used again."""
        if "catalog" in self.__dict__:
            self.catalog.close()
            del self.__dict__["catalog"]
        self._close_files()
        self._forget_model()

    def _forget_model(self) -> None:
        for cached in ("indexed_model", "_model"):
            self.__dict__.pop(cached, None)

    @cached_property
    def catalog(self) -> Catalog:
        """Raises HashcliError when there is no index."""
        return Catalog.open(self.folder)

    @property
    def _source(self) -> ItemSource:
        return self.catalog

    @property
    def called(self) -> str:
        """What it is called in messages."""
        return f"index in {self.folder}"

    @cached_property
    def indexed_model(self) -> IndexedModel:
        """The model that made the codes. Raises EmptyIndexError if the index has never had one."""
        model = self._source.model
        if model is None:
            raise EmptyIndexError(self.folder)
        return model

    # --- searching ---

    def search(
        self,
        query: str | Query,
        k: int = 10,
        *,
        kinds: Kinds = "image",
        where: Filter | None = None,
        limit: DistanceLimit | None = None,
        words: WordsName = "first",
        reranked: int = RERANKED,
        all_copies: bool = False,
        sort: Sort = "rank",
    ) -> SearchResults:
        """The k items nearest to a query, best first.

        `kinds` says what to find: "image" for photos, "text" for texts, or a list of both for k of each, in that order.
        `where` says which items may be answers. `limit` bounds how far away they may be. Without one, photos for words
        must be as near as the hash model says a fitting photo is; `DistanceLimit()` sets no bound. The nearest by
        Hamming distance are found first, and at most `reranked` of them are then ordered by the finer asymmetric score,
        so the distances need not rise: all that are nearer than the next one after so many. The order does not depend
        on k.

        Photos that hold the words of the query in their texts, names or folders come first (see `index/words.py`),
        however far away they are unless there is a limit; those that hold some of them gain by it. With `words="only"`
        only photos that come first are answers, and with `words="off"` nothing is looked for by words.

        Identical copies are one answer, the oldest file of those that are still there, and `copies` counts the others;
        with `all_copies`, each is an answer of its own. With `sort="date"`, the k best photos come newest first, by
        when they were taken or else last changed; their `rank` still says how good they are.

        Raises HashcliError when the query cannot be encoded, when there is no index or an empty one, when its hash
        model is gone or has been replaced, for a k below 1, and for an unknown kind or order.

            index.search("dog on a beach", k=5)
            index.search(Query(images="dog.jpg"), kinds="text", where=Filter(folders="~/Pictures/family"))
        """
        options = {"kinds": kinds, "where": where, "limit": limit, "words": words, "reranked": reranked}
        (results,) = self.search_many([query], k, **options, all_copies=all_copies, sort=sort)  # type: ignore[arg-type]
        if results.error:
            raise results.error
        return results

    def search_many(
        self,
        queries: Iterable[str | Query],
        k: int = 10,
        *,
        kinds: Kinds = "image",
        where: Filter | None = None,
        limit: DistanceLimit | None = None,
        words: WordsName = "first",
        reranked: int = RERANKED,
        all_copies: bool = False,
        sort: Sort = "rank",
    ) -> Iterator[SearchResults]:
        """`search` for each of many queries, in their order. It takes less time than one after the other: they are
        encoded together, and searched on all cores.

        The results of a query that cannot be encoded are empty, and their `error` says why. Whatever else `search`
        raises is raised here too: at once for what is wrong with the arguments, else when results are taken.

            for results in index.search_many(["a cat", "a dog"], k=3):
                print(results.query.name, [result.path for result in results])
        """
        if isinstance(queries, str | Query):
            raise TypeError('queries must be a list of queries, such as ["a dog"], not a single query')
        if not isinstance(k, Integral):
            raise TypeError(f"k must be a whole number, not {k!r}")
        if where is not None and not isinstance(where, Filter):
            raise TypeError(f'where must be a hashcli.Filter, such as Filter(types="jpg"), not {where!r}')
        if k < 1 or reranked < 0:
            wrong = f"k is {k}, and must be 1 or more" if k < 1 else f"reranked is {reranked}, and must be 0 or more"
            raise HashcliError(f"{wrong}.")
        if limit is not None and not isinstance(limit, DistanceLimit):
            raise TypeError(f"limit must be a hashcli.DistanceLimit, such as DistanceLimit(60), not {limit!r}")
        if sort not in get_args(Sort):
            raise HashcliError(f"Results cannot be sorted by {sort!r}.", 'Choose "rank" or "date".')
        compiled = where.compiled() if where else CompiledFilter()
        common = k, _kinds(kinds), compiled, limit, reranked, all_copies
        options = _SearchOptions(*common, by_date=sort == "date", words=_words(words))
        if options.words is Words.ONLY and options.kinds != [Kind.IMAGE]:
            raise HashcliError("Only photos are found by their words.", "Look for photos, or by meaning.")
        return self._answers(queries, options)

    def load_model(self) -> HashModel:
        """The hash model that made the codes. Raises HashcliError when it is gone or has been replaced."""
        self._forget_replaced_model()
        return self._model

    def _forget_replaced_model(self) -> None:
        """Forget the model if another process has given the index another one since, or has replaced the model itself.
        A search does this once, so that all of it is by one model."""
        model = self.__dict__.get("_model")
        if self._source.model != self.indexed_model or (model and not model.is_current):
            self._forget_model()

    @cached_property
    def _model(self) -> HashModel:
        indexed = self.indexed_model
        try:
            folder = find_model(indexed.source)
        except HashcliError as error:
            if isinstance(error.__cause__, PermissionError):
                raise
            raise ModelMissingError(
                f"The {self.called} was made with the hash model {indexed.source}, which is not there.",
                "If it was moved, update the index with it. Else put it back, or encode everything with another one.",
            ) from error
        model = HashModel(folder)
        if model.fingerprint != indexed.fingerprint:
            raise ModelChangedError(
                f"The {self.called} was made with another version of {indexed.source} "
                f"({indexed.fingerprint}; now {model.fingerprint}), and their codes cannot be compared.",
                "Encode everything again.",
            )
        self._source.check_bits(model.bits)
        return model

    def _answers(self, queries: Iterable[str | Query], options: "_SearchOptions") -> Iterator[SearchResults]:
        self._forget_replaced_model()
        for block in batched(map(_query, queries), _BLOCK):
            yield from self._answers_to_block(block, options)

    def _answers_to_block(self, queries: list[Query], options: "_SearchOptions") -> Iterator[SearchResults]:
        encoded = self._encode(queries)
        asked = [
            _AskedQuery(query, one.output, self._words_of(query, options))
            for query, one in zip(queries, encoded, strict=True)
            if isinstance(one, EncodedQuery)
        ]
        answers = iter(self._neighbours(asked, options) if asked else ())
        for query, one in zip(queries, encoded, strict=True):
            if isinstance(one, HashcliError):
                yield SearchResults(query, error=one)
            else:
                yield replace(next(answers), unknown_words=one.unknown_words)

    def _encode(self, queries: list[Query]) -> list[EncodedQuery | HashcliError]:
        """Each query encoded, or why it cannot be. Only words and photos need the model."""
        to_encode = [query for query in queries if query.output is None]
        encoded = iter(encode(self._model, to_encode) if to_encode else ())
        return [next(encoded) if query.output is None else self._checked(query.output) for query in queries]

    def _words_of(self, query: Query, options: "_SearchOptions") -> QueryWords:
        if query.output is not None or options.words is Words.OFF or Kind.IMAGE not in options.kinds:
            return QueryWords()
        return QueryWords.of(query, self._model.reads_whole)

    def _checked(self, output: np.ndarray) -> EncodedQuery | HashcliError:
        bits = self.indexed_model.bits
        if output.shape != (bits,):
            return HashcliError(f"The query's output has the shape {list(output.shape)}, not the index's [{bits}].")
        return EncodedQuery(output)

    def _neighbours(self, asked: "list[_AskedQuery]", options: "_SearchOptions") -> Iterator[SearchResults]:
        """The results of queries."""
        with self._source.snapshot():
            if self._source.model != self.indexed_model:
                raise ModelReplacedError(
                    f"The {self.called} has just been given another hash model.", "Run the search again."
                )
            found = {kind: self._found(kind, asked, options) for kind in options.kinds}
        is_empty = all(of_kind.is_empty for of_kind in found.values())
        for place, one in enumerate(asked):
            results = tuple(
                result for kind, of_kind in found.items() for result in self._results(kind, of_kind, place, options)
            )
            nearest = (of_kind.neighbours[place].nearest_distance for of_kind in found.values())
            distances = [distance for distance in nearest if distance is not None]
            why_none = WhyNone.TOO_FAR if distances else WhyNone.FILTERED
            if is_empty:
                why_none = WhyNone.NO_ITEMS
            elif options.words is Words.ONLY:
                why_none = WhyNone.NO_WORDS
            elif one.output is None:
                why_none = WhyNone.NO_KNOWN_WORDS
            yield SearchResults(one.query, results, min(distances, default=None), None if results else why_none)

    def _found(self, kind: Kind, asked: "list[_AskedQuery]", options: "_SearchOptions") -> "_FoundItems":
        """The best items of one kind for each query, with their copies. Within a snapshot.

        Whatever is to be shown is compared with its row in the catalog. If the derived files are damaged, the catalog's
        own codes are searched. Raises DamagedRowsError if it is the row that is damaged.
        """
        code_index = self._code_index(kind)
        hits = self._hits(asked, len(code_index)) if kind is Kind.IMAGE else {}
        neighbours = self._nearest(kind, code_index, asked, hits, options)
        items = self.catalog.items({id_ for one in neighbours for id_ in one.ids.tolist()})
        if not all(_agree(one, items) for one in neighbours):
            logging.getLogger("hashcli").warning(
                f"The search files in {self.folder} are damaged, and the catalog was searched instead, which takes "
                "longer. The next update makes them anew."
            )
            self._close_files()
            code_index = self._codes_of_catalog(kind)
            neighbours = self._nearest(kind, code_index, asked, hits, options)
            items = self.catalog.items({id_ for one in neighbours for id_ in one.ids.tolist()})
        return _FoundItems(neighbours, items, hits, len(code_index) == 0)

    def _nearest(
        self,
        kind: Kind,
        code_index: ListedCodes,
        asked: "list[_AskedQuery]",
        hits: dict[int, WordHits],
        options: "_SearchOptions",
    ) -> list[Neighbours]:
        """The best items of one kind for each query, and all that have the same code as one of them, as copies have.
        `hits` are what is found by words, by the place of the query. Within a snapshot."""
        among = self._taken_by(options.where, kind, len(code_index)) if options.where else None
        if among is not None and len(among) != len(code_index):  # files that belong to another catalog
            code_index = self._codes_of_catalog(kind)
        searched = _SearchedHere(code_index, options, among, self.indexed_model.bits)
        found = searched.nearest(self._ranked_queries(kind, asked, hits, options))
        for place, one in enumerate(asked):
            best = found.setdefault(place, NOTHING)
            if place in hits:
                first = searched.first(one.output, hits[place], best.nearest_distance)
                found[place] = best = before(first, searched.with_same_codes(first, best))
            if options.words is Words.ONLY:
                found[place] = best.first(best.by_words)
        return [found[place] for place in range(len(asked))]

    def _ranked_queries(
        self, kind: Kind, asked: "list[_AskedQuery]", hits: dict[int, WordHits], options: "_SearchOptions"
    ) -> "dict[int, _RankedQuery]":
        """The queries of which the hash model knows something, by their places."""
        return {
            place: _RankedQuery(one.output, self._limit(kind, one.query, options.limit), hits.get(place))
            for place, one in enumerate(asked)
            if one.output is not None
        }

    def _hits(self, asked: "list[_AskedQuery]", photos: int) -> dict[int, WordHits]:
        """What is found by words among so many photos, by the place of the query: by the derived file or, if that is
        not of the catalog's generation, by the catalog. Queries without words are left out."""
        words = {place: one.words for place, one in enumerate(asked) if one.words.wanted}
        if not words:
            return {}
        from hashcli.index.word_index import FILE_NAME, WordIndex, holders_of

        needed = {word for of_query in words.values() for word in (*of_query.wanted, *of_query.unwanted)}
        index = self._derived((FILE_NAME,), lambda generation: WordIndex.open(self.folder, generation))
        holders = holders_of(needed, index, self.catalog)
        return {place: WordHits(of_query, holders, photos) for place, of_query in words.items()}

    def _results(self, kind: Kind, found: "_FoundItems", place: int, options: "_SearchOptions") -> list[SearchResult]:
        """The answers to one query, in the order asked for."""
        neighbours, hits = found.neighbours[place], found.hits.get(place)
        groups: dict[Hashable, list[_Copy]] = {}
        pairs = zip(neighbours.ids.tolist(), neighbours.distances.tolist(), strict=True)
        held = hits.held_by(neighbours.ids) if hits else [()] * len(neighbours.ids)
        for row, (id_, distance) in enumerate(pairs):
            item = found.items[id_]
            copy = _Copy(id_, item, distance, held[row], is_first=row < neighbours.by_words)
            content: Hashable = id_ if options.all_copies else item.content
            if content in groups or row < len(neighbours.ids) - neighbours.may_be_copies:
                groups.setdefault(content, []).append(copy)
        results = [
            self._result(kind, number, copies) for number, copies in enumerate(islice(groups.values(), options.k), 1)
        ]
        if options.by_date and kind is Kind.IMAGE:
            results.sort(key=lambda result: result.date or 0, reverse=True)
        return results

    def _result(self, kind: Kind, number: int, copies: "list[_Copy]") -> SearchResult:
        """The answer of a rank: of some copies one that holds the words, and of these the oldest file, as for
        duplicates, that is there."""
        copies = sorted(copies, key=lambda copy: (not copy.is_first, copy.item.mtime_ns, copy.item.path))
        there = next((copy for copy in copies if self._is_there(copy.item)), None)
        shown = there or copies[0]
        item = shown.item
        latitude, longitude = item.place or (None, None)
        return SearchResult(
            rank=number,
            kind=kind.name.lower(),
            path=item.path,
            distance=None if shown.distance == NO_DISTANCE else shown.distance,
            bits=self.indexed_model.bits,
            text=item.text,
            line=item.line,
            photo=item.photo,
            taken=item.taken,
            taken_from=date_label(item.taken_from),
            modified=int(wall_clock(item.mtime_ns / 1e9)),
            latitude=latitude,
            longitude=longitude,
            words=shown.words,
            is_missing=there is None,
            copies=len(copies) - 1,
            machine=item.machine,
            id=shown.id,
        )

    def _is_there(self, item: Item) -> bool:
        return os.path.exists(item.path)

    def _limit(self, kind: Kind, query: Query, limit: DistanceLimit | None) -> DistanceLimit:
        """How far away an answer may be: the given limit, or for words how near the model says that a photo must be."""
        if limit is not None:
            return limit
        match = self._model.description.match if kind is Kind.IMAGE and query.is_words else None
        return DistanceLimit(match.distance if match else None)

    def _code_index(self, kind: Kind) -> ListedCodes:
        """The derived files, or the catalog's own codes while those are not of its generation.

        Nothing is written: an update is what brings the derived files back, and a search needs no right to write.
        """
        bits = self.indexed_model.bits

        def opened(generation: int) -> FaissCodeIndex | None:
            files = FaissCodeIndex(self.folder, kind, bits)
            return files if files.generation == generation else None

        files = self._derived(FILE_NAMES[kind], opened)
        return self._codes_of_catalog(kind) if files is None else files

    def _codes_of_catalog(self, kind: Kind) -> BlockwiseCodes:
        return BlockwiseCodes(self.catalog.count(kind), lambda: self.catalog.code_blocks(kind))

    def _taken_by(self, where: CompiledFilter, kind: Kind, count: int) -> np.ndarray:
        """Which of `count` items of one kind a filter takes, bool [items], in ascending order of their ids: by the
        derived file or, if that is not of the catalog's generation or of so many, by the catalog."""
        from hashcli.index.filter_table import TABLE_NAMES, FilterTable

        table = self._derived((TABLE_NAMES[kind],), lambda generation: FilterTable.read(self.folder, kind, generation))
        if table is None or len(table.times) != count:
            table = FilterTable.of(self.catalog.filter_fields(kind))
        return where.taken_of(table, str(self.folder.parent), lambda path: self.catalog.rows_of(kind, path))

    def _derived(self, names: tuple[str, ...], open_: Callable[[int], T | None]) -> T | None:
        """What is read from files derived from the catalog. It is kept as long as these files and the catalog's
        generation are still the same; None if they cannot be used. Within a snapshot."""
        generation = self.catalog.generation
        state = generation, *(state_of(self.folder / name) for name in names)
        known, kept = self._files.get(names, (None, None))
        opened: T | None = kept
        if known == state:
            return opened
        self._close_files(names)
        opened = open_(generation)
        if opened is not None:
            self._files[names] = state, opened
        return opened

    def _close_files(self, *only: tuple[str, ...]) -> None:
        for names in only or tuple(self._files):
            _, opened = self._files.pop(names, (None, None))
            if hasattr(opened, "close"):
                opened.close()

    # --- what it holds ---

    def check(self) -> None:
        """Read the whole index, and compare everything in it with its check values, and with each other.

        Raises DamagedIndexError for a catalog that cannot be read, DamagedRowsError for entries that are not what was
        written, and DamagedSearchFilesError if searches have to do without the files derived from it.
        """
        from hashcli.index.filter_table import FilterTable
        from hashcli.index.word_index import word_index_is_current

        with self.catalog.snapshot():
            self.catalog.check_pages()
            self.catalog.check_rows()
            model = self.catalog.model
            for kind in Kind if model else ():
                ids, codes = self.catalog.codes(kind)
                files = FaissCodeIndex(self.folder, kind, self.indexed_model.bits, check_content=True)
                table = FilterTable.read(self.folder, kind, self.catalog.generation)
                is_current = (
                    files.generation == self.catalog.generation
                    and files.holds(ids, codes)
                    and table is not None
                    and table.equals(FilterTable.of(self.catalog.filter_fields(kind)))
                )
                if not is_current and (len(ids) or kind is Kind.IMAGE):
                    raise DamagedSearchFilesError(self.folder)
            if model and not word_index_is_current(self.folder, self.catalog):
                raise DamagedSearchFilesError(self.folder)

    def info(self) -> IndexInfo:
        """What the index holds. Raises HashcliError when there is no index, or a damaged one."""
        with self.catalog.snapshot():
            model = self.catalog.model
            return IndexInfo(
                folder=self.folder,
                photos=self.catalog.count(Kind.IMAGE),
                texts=self.catalog.count(Kind.TEXT),
                texts_from=self.catalog.count_texts(),
                texts_left_out=self.catalog.count_left_out(),
                waiting=self.catalog.count_waiting(),
                roots=list(self.catalog.roots()),
                excludes=self.catalog.excludes(),
                forgotten=self.catalog.forgotten(),
                reads_words=self.catalog.reads_words,
                refreshed=self.catalog.refreshed,
                model=model.source if model else None,
                fingerprint=model.fingerprint if model else None,
                bits=model.bits if model else None,
                bytes=size_of_files(self.folder),
            )

    def duplicates(
        self,
        paths: Paths | None = None,
        *,
        max_distance: int | None = None,
        exact: bool = False,
        progress: Progress = None,
    ) -> "Duplicates":
        """Photos that are there more than once, in groups, each beginning with the one to keep.

        Only photos at or below `paths` are read and compared; without paths, all photos of the index. With
        `max_distance`, only those whose codes differ in at most so many bits are. With `exact`, only files that are the
        same byte for byte count.

            for best, *others in index.duplicates().groups:
                print("keep", best.path, "of", [photo.path for photo in others])
        """
        from hashcli.index.duplicates import DuplicateOptions, Duplicates, find_duplicates

        folders = _canonical(paths)
        if paths is not None and not folders:
            return Duplicates()
        return find_duplicates(self.folder, DuplicateOptions(tuple(folders), max_distance, exact), _callback(progress))

    # --- bringing it up to date ---

    def update(
        self,
        paths: Paths | None = None,
        *,
        model: str | os.PathLike[str] | None = None,
        rehash: bool = False,
        hidden: bool = False,
        texts: bool = True,
        exclude: str | Iterable[str] = (),
        include: str | Iterable[str] = (),
        check_content: bool = False,
        read_words: bool | None = None,
        device: "Device | None" = None,
        progress: Progress = None,
    ) -> UpdateSummary:
        """Index photos, folders of photos and text files; without paths, everything that was indexed before.

        Only what is new or changed is read and encoded, with the index's own hash model. `model`, a name or a folder,
        is for a new index (by default the one that ships). With `rehash` everything is encoded again, also by another
        `model`. With `hidden`, hidden folders and files are taken too; with `texts=False`, texts are left alone.
        `exclude` are patterns, as in .gitignore, of what is left out from now on, and `include` of what is taken again;
        the index remembers them. With `check_content`, files are read also if their size and times have not changed.
        With `read_words`, the words in photos are read (by the extra `ocr`), and are texts about them; the index
        remembers it, and False drops them again. `device` is what to encode on, as for `load_model`; by default the
        CPU. `progress` is called with how many files are done and how many there are, or is an `UpdateCallback`. What
        was skipped is in the summary. A list of paths that is empty changes nothing. An index that is published is
        published again in the end.

        Each batch is committed as it is encoded: after an interrupt, the next update goes on from there. Raises
        HashcliError when the index cannot be written, is being written by another process, or has another model.

            summary = index.update(["~/Pictures", "captions.jsonl"])
        """
        from hashcli.index.update import update

        given = _canonical(paths)
        if paths is not None and not given:
            return UpdateSummary()
        if paths is None and not is_index(self.folder):
            raise IndexNotFoundError(self.folder)
        self.close()  # it may be given another model, or another version of the catalog
        options = UpdateOptions(
            None if model is None else os.path.expanduser(model),
            rehash=rehash,
            hidden=hidden,
            texts=texts,
            exclude=(exclude,) if isinstance(exclude, str) else tuple(exclude),
            include=(include,) if isinstance(include, str) else tuple(include),
            check_content=check_content,
            read_words=read_words,
            device=device,
        )
        summary = update(self.folder, given, options, _callback(progress))
        if self.catalog.publication:
            self.publish(progress=progress)
        return summary

    def publish(
        self,
        address: str | None = None,
        *,
        machine: str | None = None,
        published_as: str | None = None,
        rebuild: bool = False,
        approximate: bool = False,
        progress: Progress = None,
    ) -> PublishSummary:
        """Bring a collection on a Milvus server up to date with this index; every later update does so too.

        `address` is such as milvus://127.0.0.1:19530/archive, by default where the index is published already.
        `machine` is the label of this machine, by default its name, and `published_as` what takes the place of the
        indexed folders in paths; both are remembered. With `rebuild`, everything that this machine has published is
        taken out first. A collection that has to be made is exact, or `approximate`: then searches look at the
        likeliest eighth of the codes only. Raises HashcliError: see `hashcli.index.publish`.
        """
        from hashcli.index.publish import publish

        self.close()
        options = PublishOptions(address, machine, published_as, rebuild, approximate)
        return publish(self.folder, options, _callback(progress))

    def unpublish(self, address: str | None = None) -> int:
        """Take what this machine has published out of the collection, and publish no more; returns how many items."""
        from hashcli.index.publish import unpublish

        self.close()
        return unpublish(self.folder, address)


@dataclass(frozen=True)
class _SearchOptions:
    """What the queries of one call have in common."""

    k: int
    kinds: list[Kind]
    where: CompiledFilter
    limit: DistanceLimit | None
    reranked: int
    all_copies: bool
    by_date: bool
    words: Words


@dataclass(frozen=True)
class _AskedQuery:
    """A query, its float output [bits], None if the hash model knows no word of it, and its words."""

    query: Query
    output: np.ndarray | None
    words: QueryWords


class _RankedQuery(NamedTuple):
    """A query's float output [bits], how far away its answers may be, and what is found by its words, if it has any."""

    output: np.ndarray
    limit: DistanceLimit
    hits: WordHits | None


@dataclass(frozen=True)
class _Searched:
    """Codes that are searched, all of them."""

    code_index: SearchableCodes
    options: _SearchOptions

    def _candidates(self, codes: np.ndarray, k: int, count: int) -> Iterable[Candidates]:
        return self.code_index.search(codes, k, count)

    def nearest(self, queries: dict[int, _RankedQuery]) -> dict[int, Neighbours]:
        """The best items for each query, by its place, and all that have the same code as one of them."""
        codes = {place: pack(query.output[None])[0] for place, query in queries.items()}
        found: dict[int, Neighbours] = {}
        k, count = self.options.k, max(self.options.k, self.options.reranked + 1)
        searched = list(queries)
        while searched:
            too_few = []
            candidates_of = self._candidates(np.stack([codes[one] for one in searched]), k, count)
            for place, candidates in zip(searched, candidates_of, strict=True):
                ranked = self._ranked(queries[place], candidates)
                if self.options.all_copies:
                    found[place] = ranked.first(self.options.k)
                    continue
                known_to = reach(candidates, k, count)
                known = ranked.rows(np.flatnonzero(ranked.distances <= known_to))
                found[place] = best = known.with_first_codes(self.options.k)
                if known_to < _largest(ranked, queries[place].limit) and best.count_codes() < self.options.k:
                    too_few.append(place)  # many copies, which leave too few photos
            searched = too_few
            k = count = 4 * count
        return found

    def _ranked(self, query: _RankedQuery, candidates: Candidates) -> Neighbours:
        evidence = query.hits.evidence(candidates.ids) if query.hits else None
        return rank(candidates, query.output, self.options.reranked, query.limit, evidence)


@dataclass(frozen=True)
class _SearchedHere(_Searched):
    """Codes whose items are known, also by their words; and which of them are searched, bool [n]; None for all."""

    code_index: ListedCodes
    among: np.ndarray | None
    bits: int

    @cached_property
    def _ids(self) -> np.ndarray:
        return self.code_index.ids

    def _candidates(self, codes: np.ndarray, k: int, count: int) -> Iterable[Candidates]:
        return self.code_index.search(codes, k, count, self.among)

    def first(self, output: np.ndarray | None, hits: WordHits, nearest: int | None) -> Neighbours:
        """Of the items that come first for their words, the best for a query's output or, without one, those that were
        indexed first; `nearest` is the distance of the nearest item of all."""
        ids = hits.ids(with_common=self.options.words is Words.ONLY)
        if not len(ids) or not len(self._ids):
            return NOTHING
        rows = np.searchsorted(self._ids, ids)
        rows = rows[self._ids[np.minimum(rows, len(self._ids) - 1)] == ids]
        rows = rows if self.among is None else rows[self.among[rows]]
        if not len(rows):
            return NOTHING
        limit = self.options.limit or DistanceLimit()
        limit = DistanceLimit(None if nearest is None else limit.largest(nearest))
        only = np.zeros(len(self.code_index), bool)
        only[rows] = True
        if output is not None:
            return replace(self, among=only).nearest({0: _RankedQuery(output, limit, hits)})[0]
        nowhere = np.zeros((1, self.bits // 8), np.uint8)
        (candidates,) = self.code_index.search(nowhere, len(rows), len(rows), only)
        found = Neighbours(*candidates, None).in_order_of_ids()
        return found.first(self.options.k) if self.options.all_copies else found.with_first_codes(self.options.k)

    def with_same_codes(self, first: Neighbours, others: Neighbours) -> Neighbours:
        """The others and, after them, all that have a code of the first: among these are copies that do not hold the
        words."""
        rows = np.flatnonzero(~np.isin(first.ids, others.ids))
        if self.options.words is Words.ONLY or self.options.all_copies or not len(rows):
            return others
        codes, places = np.unique(first.codes[rows], axis=0, return_index=True)
        known = np.concatenate([first.ids, others.ids])
        same = self._candidates(codes, 1, 1)
        ids = [np.setdiff1d(one.ids[one.distances == 0], known) for one in same]
        of = np.repeat(np.arange(len(codes)), [len(of_code) for of_code in ids])
        more = Neighbours(np.concatenate(ids), first.distances[rows][places][of], codes[of], others.nearest_distance)
        return before(others, more)._replace(by_words=0, may_be_copies=len(of))


@dataclass(frozen=True)
class _Copy:
    """An item with its id, its distance, the words of the query that it holds, and whether it comes first for them."""

    id: int
    item: Item
    distance: int
    words: tuple[str, ...]
    is_first: bool


@dataclass(frozen=True)
class _FoundItems:
    """The best items of one kind for each query, with their copies; what the catalog says of them; what was found by
    words, by the place of the query; and whether there are no items at all."""

    neighbours: list[Neighbours]
    items: dict[int, Item]
    hits: dict[int, WordHits]
    is_empty: bool


def _agree(neighbours: Neighbours, items: dict[int, Item]) -> bool:
    """Whether each neighbour is in the catalog, with the same code."""
    return all(
        id_ in items and items[id_].code == code.tobytes()
        for id_, code in zip(neighbours.ids.tolist(), neighbours.codes, strict=True)
    )


def _largest(ranked: Neighbours, limit: DistanceLimit) -> float:
    """The largest distance an answer may have."""
    largest = None if ranked.nearest_distance is None else limit.largest(ranked.nearest_distance)
    return inf if largest is None else largest


class _ProgressFunction(UpdateCallback):
    """Calls a function with how many files or texts of a stage are done, and how many there are."""

    def __init__(self, function: Callable[[int, int], None]) -> None:
        self._function, self._done, self._total = function, 0, 0

    def planned(self, count: int) -> None:
        self._done, self._total = 0, count
        self._function(0, count)

    def advanced(self, count: int) -> None:
        self._done += count
        self._function(self._done, self._total)


def _callback(progress: Progress) -> UpdateCallback:
    if progress is None:
        return UpdateCallback()
    return progress if isinstance(progress, UpdateCallback) else _ProgressFunction(progress)


def _query(query: str | Query) -> Query:
    if not isinstance(query, str | Query):
        raise TypeError(f"a query must be a text or a hashcli.Query, not {query!r}")
    return Query(query) if isinstance(query, str) else query


def _kinds(names: Kinds) -> list[Kind]:
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in _KINDS:
            raise HashcliError(
                f"There is no kind of item {name!r}.{did_you_mean(str(name), _KINDS)}", 'Choose "image" or "text".'
            )
    if not names:
        raise HashcliError("No kind of item was chosen.", 'Choose "image" or "text", or both.')
    return [_KINDS[name] for name in names]


def _words(name: str) -> Words:
    if name not in list(Words):
        raise HashcliError(
            f"words cannot be {name!r}.{did_you_mean(str(name), Words)}", 'Choose "first", "only" or "off".'
        )
    return Words(name)


def _canonical(paths: Paths | None) -> list[str]:
    """The paths as an index knows them; none if none were given."""
    from hashcli.index.files.paths import canonical

    given = [paths] if isinstance(paths, str | os.PathLike) else paths or ()
    expanded = [os.path.expanduser(path) for path in given]
    if "" in expanded:  # which would stand for the working directory
        raise HashcliError("An empty path was given.", 'Is a variable unset? Give "." for the working directory.')
    return [canonical(path) for path in expanded]
