"""Answers from an index: the items whose codes are nearest to a query's."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hashcli.errors import HashcliError
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.registry import find_model
from hashcli.index.catalog import Catalog, FilterFields, Kind
from hashcli.index.code_index import Codes, DistanceLimit
from hashcli.index.files.paths import is_within

RERANK = 1000  # candidates by Hamming distance that are put in the order of the finer, asymmetric score
_BLOCK = 1024  # queries answered together


@dataclass(frozen=True)
class SearchResult:
    """One answer. `path` is absolute; `distance` is in bits, of `bits`.

    Of a text, `path` is the file it stands in, `line` where (from 1), and `photo` the photo it is about, if any.
    `taken` is when a photo was taken, in seconds of its local time; None where the file does not say.
    """

    rank: int
    kind: str
    path: str
    distance: int
    bits: int
    text: str | None = None
    line: int | None = None
    photo: str | None = None
    taken: int | None = None

    @property
    def similarity(self) -> float:
        """The share of bits that agree."""
        return 1 - self.distance / self.bits

    @property
    def picture(self) -> str | None:
        """The photo that shows it: itself, or the one that a text is about; None for a text about none."""
        return self.path if self.text is None else self.photo


class Found(NamedTuple):
    """The answers to one query, best first. `smallest` is the distance of the nearest item, also when that is too far
    to be an answer; None where there are no items."""

    matches: list[SearchResult]
    smallest: int | None


@dataclass(frozen=True)
class Filter:
    """Which items may be answers: those in one of the folders, of one of the file types (lower case, with their dot),
    taken (or, where the file does not say, last changed) from `after` on and before `before`, in seconds of local time.
    """

    folders: tuple[str, ...] = ()
    suffixes: frozenset[str] = frozenset()
    after: float | None = None
    before: float | None = None

    def __bool__(self) -> bool:
        return self != Filter()

    def takes(self, place: FilterFields) -> bool:
        if self.folders and not any(is_within(place.path, folder) for folder in self.folders):
            return False
        if self.suffixes and os.path.splitext(place.path)[1].lower() not in self.suffixes:
            return False
        if self.after is None and self.before is None:
            return True
        taken: float | None = place.taken
        if taken is None:
            if place.mtime_ns is None:  # no date is known
                return False
            taken = _local_seconds(place.mtime_ns / 1e9)
        return (self.after is None or taken >= self.after) and (self.before is None or taken < self.before)


class Index:
    """An index opened for reading, while others may read it and one may write it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = Catalog.open(folder)
        model = self.catalog.model
        if model is None:
            self.catalog.close()
            raise HashcliError(f"The index in {folder} is empty.", "Add photos: hashcli index PATH-OF-PHOTOS")
        self.model = model

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.catalog.close()

    def load_model(self) -> HashModel:
        """The model the codes are of. Raises HashcliError when it is gone or is another one by now."""
        try:
            folder = find_model(self.model.source)
        except HashcliError as error:
            raise HashcliError(
                f"The index in {self.folder} was made with the hash model {self.model.source}, which is not there.",
                "Put it back, or encode everything with another: hashcli index --rehash --model NAME",
            ) from error
        model = HashModel(folder)
        if model.fingerprint != self.model.fingerprint:
            raise HashcliError(
                f"The index in {self.folder} was made with another version of {self.model.source} "
                f"({self.model.fingerprint}; now {model.fingerprint}), and their codes cannot be compared.",
                "Encode everything again: hashcli index --rehash",
            )
        return model

    def nearest(
        self, kind: Kind, output: np.ndarray, k: int, rerank: int = RERANK, where: Filter | None = None
    ) -> list[SearchResult]:
        """The k items of a kind nearest to a query's float output [bits], best first."""
        return next(self.nearest_each(kind, output[None], k, rerank, where)).matches

    def nearest_each(
        self,
        kind: Kind,
        outputs: np.ndarray,
        k: int,
        rerank: int = RERANK,
        where: Filter | None = None,
        near: Sequence[DistanceLimit] | None = None,
    ) -> Iterator[Found]:
        """`nearest` for each of many queries [queries, bits], in order; `near`, if given, for each of them."""
        for start in range(0, len(outputs), _BLOCK):
            with self.catalog.snapshot():
                if self.catalog.model != self.model:
                    raise HashcliError(
                        f"The index in {self.folder} was given another hash model just now.", "Run the search again."
                    )
                codes = self._codes(kind)
                if where:
                    taken = [id_ for id_, place in self.catalog.filter_fields(kind) if where.takes(place)]
                    codes = codes.subset(np.array(taken, np.int64))
                block = slice(start, start + _BLOCK)
                found = codes.nearest_each(outputs[block], k, rerank, near and near[block])
                items = self.catalog.items(set(np.concatenate([nearest.ids for nearest in found]).tolist()))
            for nearest in found:
                pairs = zip(nearest.ids.tolist(), nearest.distances.tolist(), strict=True)
                known = ((items[id_], distance) for id_, distance in pairs if id_ in items)
                matches = [
                    SearchResult(rank, kind.name.lower(), item.path, distance, self.model.bits, *item[1:])
                    for rank, (item, distance) in enumerate(known, start=1)
                ]
                yield Found(matches, nearest.smallest if nearest.smallest >= 0 else None)

    def _codes(self, kind: Kind) -> Codes:
        """The derived files, or the catalog's own codes while those are not of its generation.

        Nothing is written: an update is what brings the derived files back, and a search needs no right to write.
        """
        codes = Codes.mapped(self.folder, kind, self.catalog.generation, self.model.bits)
        return Codes.in_memory(*self.catalog.codes(kind)) if codes is None else codes


def _local_seconds(timestamp: float) -> float:
    """A moment as the clock on the wall showed it, in seconds as if it were UTC: what cameras write down."""
    return timestamp + time.localtime(timestamp).tm_gmtoff
