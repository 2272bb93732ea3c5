"""A collection that several machines publish to, as an index to search.

`Index.search` decides the answers here too; this file gives it the candidates, and what is shown of them. The answers
are those of an index of the same photos, in the same order: of equally near items, those that were indexed first. Only
an approximate collection may miss some.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from hashcli.errors import HashcliError
from hashcli.index.catalog import Item, Kind
from hashcli.index.code_index import MARGIN, Candidates
from hashcli.index.filter import CompiledFilter, from_in_utc
from hashcli.index.filter_table import MODIFIED, TAKEN
from hashcli.index.milvus import MOST, Collection, of_machine, quoted
from hashcli.index.milvus_address import MilvusAddress
from hashcli.index.places import EARTH_RADIUS, UNITS, Circle
from hashcli.index.ranking import NOTHING, Neighbours
from hashcli.index.search import Index, ItemSource, _AskedQuery, _FoundItems, _Searched, _SearchOptions
from hashcli.index.words import Words

_NO_BOUND = -(2**62), 2**62  # of times, in microseconds
# Times as many candidates as the answers need: of a million photos, those as near as the last answer are then whole.
_SPARE = 1.25


@dataclass(frozen=True)
class CollectionInfo:
    """What a collection holds: how many photos and texts can be found, how many of each machine, the hash model that
    made their codes, and whether searches look at a part of these only."""

    address: str
    photos: int
    texts: int
    machines: dict[str, int]
    model: str
    fingerprint: str
    bits: int
    approximate: bool


class PublishedIndex(Index):
    """A collection, opened to be searched; see `hashcli.open_index`. The photos and their catalogs are elsewhere."""

    def __init__(self, address: MilvusAddress) -> None:
        self.address = address

    def close(self) -> None:
        if "collection" in self.__dict__:
            self.collection.close()
            del self.__dict__["collection"]
        self._forget_model()

    @cached_property
    def collection(self) -> Collection:
        """Raises HashcliError if there is none, or no server."""
        collection = Collection(self.address)
        try:
            collection.open()
        except BaseException:
            collection.close()
            raise
        return collection

    @property
    def _source(self) -> ItemSource:
        return self.collection

    @property
    def called(self) -> str:
        return f"collection {self.address}"

    def _is_there(self, item: Item) -> bool:
        return True  # it is on another machine, as a rule

    def contents(self) -> CollectionInfo:
        """What it holds."""
        collection, model = self.collection, self.indexed_model
        photos, texts = (collection.count(f"kind == {kind:d}") for kind in Kind)
        machines = {machine: collection.count(of_machine(machine)) for machine in collection.machines()}
        is_approximate = collection.properties.is_approximate
        return CollectionInfo(str(self.address), photos, texts, machines, *model, is_approximate)

    def _answers(self, queries: Any, options: _SearchOptions) -> Any:
        if options.words is Words.ONLY:
            raise HashcliError(
                "A collection does not hold the words of photos' texts, names and folders.", "Search by meaning."
            )
        return super()._answers(queries, replace(options, words=Words.OFF))

    def _found(self, kind: Kind, asked: list[_AskedQuery], options: _SearchOptions) -> _FoundItems:
        codes = CollectionCodes(self.collection, kind, options.where)
        found = _Searched(codes, options).nearest(self._ranked_queries(kind, asked, {}, options))
        neighbours = [found.get(place, NOTHING) for place in range(len(asked))]
        items = self.collection.items({id_ for one in neighbours for id_ in one.ids.tolist()})
        neighbours = [_those_in(items, one) for one in neighbours]
        return _FoundItems(neighbours, items, {}, not (items or self.collection.count(f"kind == {kind:d}")))

    def _not_here(self, *_: object, **__: object) -> NoReturn:
        raise HashcliError(
            f"The {self.called} can be searched, and nothing else: its photos are on other machines.",
            "Do this on the machine that holds the photos, with its own index.",
        )

    check = info = duplicates = update = publish = unpublish = _not_here
    catalog = folder = property(_not_here)


class CollectionCodes:
    """The codes of one kind of item in a collection that a filter takes, as `SearchableCodes`."""

    def __init__(self, collection: Collection, kind: Kind, where: CompiledFilter) -> None:
        self._collection = collection
        self._bits = collection.properties.bits
        self._taken = " and ".join(f"({one})" for one in (f"kind == {kind:d}", *expressions(where, collection)))

    def search(self, codes: np.ndarray, k: int, count: int) -> Iterator[Candidates]:
        """As `SearchableCodes`."""
        limit = min(max(count, round(_SPARE * (k + MARGIN))), MOST)
        for code, found in zip(codes, self._collection.search(codes, self._taken, limit), strict=True):
            yield found if _is_whole(found, k, count, limit) else self._completed(code, found, count)

    def _completed(self, code: np.ndarray, nearest: Candidates, count: int) -> Candidates:
        """As many of the nearest as are wanted, if there are, and all that are as near as any of these."""
        distance = int(nearest.distances[-1])  # up to which all but the last are whole
        parts = [_rows(nearest, nearest.distances < distance)]
        while sum(len(part.ids) for part in parts) < count and distance <= self._bits:
            parts.append(self._all_at(code, distance))
            distance += 1
        return _joined(parts)

    def _all_at(self, code: np.ndarray, distance: int, above: int = -1, up_to: int = 2**63 - 1) -> Candidates:
        """All items at a distance, of ids above one and up to another. If they are more than Milvus gives at once,
        those of small and of large ids are asked for apart."""
        of_ids = f"({self._taken}) and ({above} < id <= {up_to})"
        (found,) = self._collection.search(code[None], of_ids, MOST, (distance, distance + 1))
        if len(found.ids) < MOST:
            return found
        middle = int(np.sort(found.ids)[MOST // 2])
        return _joined([self._all_at(code, distance, above, middle), self._all_at(code, distance, middle, up_to)])


def _is_whole(found: Candidates, k: int, count: int, limit: int) -> bool:
    """Whether so many are enough: all that there are, or all that are as near as the k-th."""
    return len(found.ids) < limit or (limit >= count and found.distances[-1] > found.distances[k - 1])


def _rows(found: Candidates, rows: np.ndarray) -> Candidates:
    return Candidates(*(part[rows] for part in found))


def _joined(parts: list[Candidates]) -> Candidates:
    return Candidates(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _those_in(items: dict[int, Item], found: Neighbours) -> Neighbours:
    """Those whose rows are still there: one may have left the collection while it was being searched."""
    rows = np.array([row for row, id_ in enumerate(found.ids.tolist()) if id_ in items], int)
    return found if len(rows) == len(found.ids) else found.rows(rows)


def expressions(where: CompiledFilter, collection: Collection) -> Iterator[str]:
    """What a filter takes, as Milvus's expressions, all of which must hold."""
    if where.folders:
        yield " or ".join(_in_folder(folder) for folder in where.folders)
    if where.suffixes:
        yield f"type in [{', '.join(map(quoted, sorted(where.suffixes)))}]"
    if where.after is not None or where.before is not None:
        yield _in_time(where)
    if where.near:
        yield f"id in {_near(where.near, collection)}"


def _in_folder(folder: str) -> str:
    """Below a folder or, if it is a file, of it or about it. Milvus compares texts by their bytes, so that those with
    a beginning lie between two others. Here as elsewhere a range is one condition: Milvus 2.3 errs in joining two."""
    within = folder.rstrip("/")
    below, above = quoted(f"{within}/"), quoted(f"{within}0")  # 0 follows / in ASCII
    return f"({below} <= about < {above}) or about == {quoted(folder)}"


def _in_time(where: CompiledFilter) -> str:
    """Photos that say when they were taken have local times, and others UTC."""
    first, end = (
        (_NO_BOUND[0] if where.after is None else where.after),
        (_NO_BOUND[1] if where.before is None else where.before),
    )
    taken = f"clock == {TAKEN} and ({first} <= time < {end})"
    modified = [f"clock == {MODIFIED}"]
    if where.after is not None:
        modified.append(_in_any(from_in_utc(where.after)))
    if where.before is not None:
        modified.append(f"not {_in_any(from_in_utc(where.before))}")
    return f"({taken}) or ({' and '.join(modified)})"


def _in_any(stretches: list[tuple[int, int]]) -> str:
    return "(" + " or ".join(f"({begin} <= time < {end})" for begin, end in stretches) + ")"


def _near(circle: Circle, collection: Collection) -> list[int]:
    """The ids of what lies in a circle: Milvus can look for those in a rectangle around it, in which NOWHERE is not."""
    latitude, longitude = circle.centre
    north = np.degrees(circle.radius / EARTH_RADIUS) * 1.001
    south = max(latitude - north, -90)
    box = f"{round(south * UNITS)} <= latitude <= {round((latitude + north) * UNITS)}"
    at_top = min(abs(latitude) + north, 90)
    east = north / max(np.cos(np.radians(at_top)), 1e-9)
    if abs(longitude) + east < 180:  # else it may reach over the 180th meridian
        box += f" and {round((longitude - east) * UNITS)} <= longitude <= {round((longitude + east) * UNITS)}"
    rows = collection.places(box)
    if len(rows) == MOST:
        raise HashcliError(f"{MOST} items or more lie near there.", "Choose a smaller distance.")
    inside = circle.holds(np.array([place for _, *place in rows]).reshape(-1, 2))
    return [id_ for (id_, *_), is_inside in zip(rows, inside, strict=True) if is_inside]
