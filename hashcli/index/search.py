"""An index for those who use it: searched, brought up to date, asked what it holds.

Whatever decides an answer is in `Index.search`: encoding, filters, how far away an answer may be, the order, and the
merging of photos and texts. The terminal and Python get the same answers because both call it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hashcli.errors import HashcliError
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.prefetch import batched
from hashcli.hashmodel.registry import find_model
from hashcli.index.catalog import Catalog, IndexedModel, Item, Kind
from hashcli.index.code_index import CodeIndex, FaissCodeIndex, MemoryCodeIndex
from hashcli.index.filter import CompiledFilter, Filter
from hashcli.index.locations import is_index, locate
from hashcli.index.query import Query, encode
from hashcli.index.ranking import RERANKED, DistanceLimit, Neighbours, rank
from hashcli.index.results import SearchResult, SearchResults, WhyNone
from hashcli.index.summary import UpdateCallback, UpdateOptions, UpdateSummary

if TYPE_CHECKING:
    from hashcli.index.duplicates import Duplicates

_BLOCK = 256  # queries that are encoded and answered together
_KINDS = {"image": Kind.IMAGE, "text": Kind.TEXT}

KindName = Literal["image", "text"]
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
    """The hash model that an index was made with is another one by now."""


@dataclass(frozen=True)
class IndexInfo:
    """What an index holds: how many photos and texts can be found, and the hash model that their codes are of.

    `texts_from` counts the texts by what they come from; `waiting` counts items that have no code yet; `roots` are the
    folders that an update without paths looks into; `bytes` is its size on disk.
    """

    folder: Path
    photos: int
    texts: int
    texts_from: dict[str, int]
    waiting: int
    roots: list[str]
    model: str | None
    fingerprint: str | None
    bits: int | None
    bytes: int


def open_index(folder: str | os.PathLike[str] | None = None, *, create: bool = False) -> "Index":
    """Open the index in a folder, or, without one, the default index as the terminal finds it.

    With `create` it need not be there yet: the first update makes it. Raises HashcliError when there is no index.

        with hashcli.open_index("photo-index", create=True) as index:
            index.update(["~/Pictures"])
            for result in index.search("dog on a beach", k=5):
                print(result.path, result.distance)
    """
    location = locate(folder)
    index = Index(location.folder)
    if not (create and not is_index(location.folder)):
        index.catalog  # noqa: B018 - raises where there is none
    return index


class Index:
    """An index of photos and texts. Others may read it at the same time, and one may update it.

    It is opened when it is first read. Use it in one thread, and close it, or use it in a `with` statement.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files. The index opens them again when it is used again."""
        if "catalog" in self.__dict__:
            self.catalog.close()
        for opened in ("catalog", "indexed_model", "_model"):
            self.__dict__.pop(opened, None)

    @cached_property
    def catalog(self) -> Catalog:
        """Raises HashcliError when there is no index."""
        return Catalog.open(self.folder)

    @cached_property
    def indexed_model(self) -> IndexedModel:
        """What the codes were made with. Raises EmptyIndexError where there are none."""
        model = self.catalog.model
        if model is None:
            raise EmptyIndexError(self.folder)
        return model

    # --- searching ---

    def search(
        self,
        query: str | Query,
        k: int = 10,
        *,
        kinds: Sequence[KindName] = ("image",),
        where: Filter | None = None,
        limit: DistanceLimit | None = None,
        reranked: int = RERANKED,
    ) -> SearchResults:
        """The k items nearest to a query, best first: photos, or with `kinds` texts, or k of each.

        `where` says which items may be answers. `limit` bounds how far away they may be. Without one, photos for words
        must be as near as the hash model says a fitting photo is; `DistanceLimit()` sets no bound. The nearest by
        Hamming distance are found first, and the first `reranked` of them ordered by the finer asymmetric score, so
        the distances need not rise.

        Raises HashcliError when the query cannot be encoded, when the index is empty, or when its hash model is gone or
        is another one by now.
        """
        (results,) = self.search_many([query], k, kinds=kinds, where=where, limit=limit, reranked=reranked)
        if results.error:
            raise results.error
        return results

    def search_many(
        self,
        queries: Iterable[str | Query],
        k: int = 10,
        *,
        kinds: Sequence[KindName] = ("image",),
        where: Filter | None = None,
        limit: DistanceLimit | None = None,
        reranked: int = RERANKED,
    ) -> Iterator[SearchResults]:
        """`search` for each of many queries, in their order, in less time: on all cores, and encoded together.

        The results of a query that cannot be encoded are empty, and their `error` says why.
        """
        compiled = where.compiled() if where else CompiledFilter()
        settings = _Settings(k, [_KINDS[kind] for kind in kinds], compiled, limit, reranked)
        for block in batched(queries, _BLOCK):
            yield from self._answer([Query(query) if isinstance(query, str) else query for query in block], settings)

    def load_model(self) -> HashModel:
        """The hash model that the codes are of. Raises HashcliError when it is gone or is another one by now."""
        return self._model

    @cached_property
    def _model(self) -> HashModel:
        indexed = self.indexed_model
        try:
            folder = find_model(indexed.source)
        except HashcliError as error:
            raise ModelMissingError(
                f"The index in {self.folder} was made with the hash model {indexed.source}, which is not there.",
                "Put it back, or encode everything again with another one.",
            ) from error
        model = HashModel(folder)
        if model.fingerprint != indexed.fingerprint:
            raise ModelChangedError(
                f"The index in {self.folder} was made with another version of {indexed.source} "
                f"({indexed.fingerprint}; now {model.fingerprint}), and their codes cannot be compared.",
                "Encode everything again.",
            )
        return model

    def _answer(self, queries: list[Query], settings: "_Settings") -> Iterator[SearchResults]:
        outputs = self._encode(queries)
        encoded = [place for place, output in enumerate(outputs) if not isinstance(output, HashcliError)]
        stacked = np.array([outputs[place] for place in encoded], np.float32)  # [encoded, bits]
        answers = iter(self._neighbours([queries[place] for place in encoded], stacked, settings) if encoded else ())
        for query, output in zip(queries, outputs, strict=True):
            yield SearchResults(query, error=output) if isinstance(output, HashcliError) else next(answers)

    def _encode(self, queries: list[Query]) -> list[np.ndarray | HashcliError]:
        """The float output [bits] of each query, or why it has none. Only words and photos need the model."""
        to_encode = [query for query in queries if query.output is None]
        encoded = iter(encode(self.load_model(), to_encode) if to_encode else ())
        return [next(encoded) if query.output is None else self._checked(query.output) for query in queries]

    def _checked(self, output: np.ndarray) -> np.ndarray | HashcliError:
        bits = self.indexed_model.bits
        if output.shape != (bits,):
            return HashcliError(f"The query's output has the shape {list(output.shape)}, not the index's [{bits}].")
        return output

    def _neighbours(self, queries: list[Query], outputs: np.ndarray, settings: "_Settings") -> Iterator[SearchResults]:
        """The results of queries with their float outputs [queries, bits]."""
        with self.catalog.snapshot():
            if self.catalog.model != self.indexed_model:
                raise HashcliError(
                    f"The index in {self.folder} has just been given another hash model.", "Run the search again."
                )
            code_indexes = {kind: self._code_index(kind) for kind in settings.kinds}
            neighbours = {
                kind: self._nearest(kind, code_index, queries, outputs, settings)
                for kind, code_index in code_indexes.items()
            }
            ids = {id_ for of_kind in neighbours.values() for one in of_kind for id_ in one.ids.tolist()}
            items = self.catalog.items(ids)
        is_empty = not any(len(code_index) for code_index in code_indexes.values())
        for place, query in enumerate(queries):
            own = {kind: of_kind[place] for kind, of_kind in neighbours.items()}
            results = tuple(result for kind, nearest in own.items() for result in self._results(kind, nearest, items))
            distances = [nearest.nearest_distance for nearest in own.values() if nearest.nearest_distance is not None]
            why_none = WhyNone.TOO_FAR if distances else WhyNone.NO_ITEMS if is_empty else WhyNone.FILTERED
            yield SearchResults(query, results, min(distances, default=None), None if results else why_none)

    def _nearest(
        self, kind: Kind, code_index: CodeIndex, queries: list[Query], outputs: np.ndarray, settings: "_Settings"
    ) -> list[Neighbours]:
        """The best items of one kind for each query. Within a snapshot."""
        among = None
        if settings.where:
            taken = [id_ for id_, fields in self.catalog.filter_fields(kind) if settings.where.takes(fields)]
            among = np.array(taken, np.int64)
        count = max(settings.k, settings.reranked)
        candidates = code_index.search(pack(outputs), settings.k, count, among)
        return [
            rank(found, output, settings.k, settings.reranked, self._limit(kind, query, settings.limit))
            for found, output, query in zip(candidates, outputs, queries, strict=True)
        ]

    def _results(self, kind: Kind, neighbours: Neighbours, items: dict[int, Item]) -> Iterator[SearchResult]:
        pairs = zip(neighbours.ids.tolist(), neighbours.distances.tolist(), strict=True)
        known = ((items[id_], distance) for id_, distance in pairs if id_ in items)
        for number, (item, distance) in enumerate(known, start=1):
            yield SearchResult(
                rank=number,
                kind=kind.name.lower(),
                path=item.path,
                distance=distance,
                bits=self.indexed_model.bits,
                text=item.text,
                line=item.line,
                photo=item.photo,
                taken=item.taken,
                is_missing=not os.path.exists(item.path),
            )

    def _limit(self, kind: Kind, query: Query, limit: DistanceLimit | None) -> DistanceLimit:
        """How far away an answer may be: the given limit, or for words how near the model says that a photo must be."""
        if limit is not None:
            return limit
        match = self.load_model().description.match if kind is Kind.IMAGE and query.is_words else None
        return DistanceLimit(match.distance if match else None)

    def _code_index(self, kind: Kind) -> CodeIndex:
        """The derived files, or the catalog's own codes while those are not of its generation.

        Nothing is written: an update is what brings the derived files back, and a search needs no right to write.
        """
        files = FaissCodeIndex(self.folder, kind, self.indexed_model.bits)
        if files.generation == self.catalog.generation:
            return files
        return MemoryCodeIndex(*self.catalog.codes(kind))

    # --- what it holds ---

    def info(self) -> IndexInfo:
        """What the index holds."""
        model = self.catalog.model
        return IndexInfo(
            folder=self.folder,
            photos=self.catalog.count(Kind.IMAGE),
            texts=self.catalog.count(Kind.TEXT),
            texts_from=self.catalog.count_texts(),
            waiting=self.catalog.count_waiting(),
            roots=list(self.catalog.roots()),
            model=model.source if model else None,
            fingerprint=model.fingerprint if model else None,
            bits=model.bits if model else None,
            bytes=sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file()),
        )

    def duplicates(
        self,
        paths: Paths = (),
        *,
        max_distance: int | None = None,
        exact: bool = False,
        progress: Progress = None,
    ) -> "Duplicates":
        """Photos that are there more than once, in groups, each with the one to keep first.

        Only those in some folders are compared, or all. Photos whose codes differ in `max_distance` bits at most (by
        default 3 of 32) are looked at themselves; with `exact`, only files of the same bytes count.
        """
        from hashcli.index.duplicates import DuplicateOptions, find_duplicates
        from hashcli.index.files.paths import canonical

        folders = tuple(canonical(path) for path in _expanded(paths))
        return find_duplicates(self.folder, DuplicateOptions(folders, max_distance, exact), _callback(progress))

    # --- bringing it up to date ---

    def update(
        self,
        paths: Paths = (),
        *,
        model: str | os.PathLike[str] | None = None,
        rehash: bool = False,
        hidden: bool = False,
        texts: bool = True,
        progress: Progress = None,
    ) -> UpdateSummary:
        """Index photos, folders of photos and files of texts; without paths, everything that was indexed before.

        Only what is new or changed is read and encoded, with the index's own hash model, or at first with `model`, a
        name or a folder (by default the one that ships). With `rehash` everything is encoded again, also by another
        `model`. With `hidden`, hidden folders and files are taken too; without `texts`, texts are left alone.
        `progress` is called with how many files are done and of how many; what was skipped is in the summary.

        Each batch is committed as it is encoded: after an interrupt, the next update goes on from there. Raises
        HashcliError when the index cannot be written, is being written, or has another model.
        """
        from hashcli.index.files.paths import canonical
        from hashcli.index.update import update

        self.close()  # it may be given another model, or another version of the catalog
        options = UpdateOptions(None if model is None else os.path.expanduser(model), rehash, hidden, texts)
        return update(self.folder, [canonical(path) for path in _expanded(paths)], options, _callback(progress))


@dataclass(frozen=True)
class _Settings:
    """What the queries of one call have in common."""

    k: int
    kinds: list[Kind]
    where: CompiledFilter
    limit: DistanceLimit | None
    reranked: int


class _ProgressFunction(UpdateCallback):
    """Calls a function with how many are done, and of how many."""

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


def _expanded(paths: Paths) -> list[str]:
    return [os.path.expanduser(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
