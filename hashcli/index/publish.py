"""Publishing an index to a collection that many machines fill: what has changed since the last time goes out.

The catalog is the truth, and the collection is derived from it. While an index is published, the catalog notes which
items have changed, in the transaction that changes them (`Catalog.note_changes`); a note is dropped once the server has
taken the change. So a kill at any moment costs no more than that a batch is sent again.

Both sides remember which generation of the catalog was published. If they differ (the collection was made anew, or the
catalog or the server comes from a backup), everything of this machine is taken out and published again.
"""

import json
import os
import socket
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import quote

from hashcli.errors import HashcliError
from hashcli.hashmodel.prefetch import batched, prefetch
from hashcli.index.catalog import Catalog, FilterFields, IndexedModel, Item, Kind
from hashcli.index.files.paths import is_within
from hashcli.index.filter_table import FilterTable
from hashcli.index.lock import writer_lock
from hashcli.index.milvus import (
    CALLS_AT_ONCE,
    NOWHERE,
    Collection,
    MachineRecord,
    MachineTakenError,
    OtherModelCollectionError,
    PublishedRow,
    as_shown,
    of_machine,
    row_id,
    stored,
)
from hashcli.index.milvus_address import MilvusAddress
from hashcli.index.summary import PublishOptions, PublishSummary
from hashcli.index.update_callback import UpdateCallback

_BATCH = 5_000  # rows sent at once
_LONGEST_LABEL = 64


class NotPublishedError(HashcliError):
    """The index in `index_folder` is not published, and no address was given."""

    def __init__(self, index_folder: Path) -> None:
        super().__init__(f"The index in {index_folder} is not published.", "Give the address of a collection.")
        self.index_folder = index_folder


@dataclass(frozen=True)
class _Publication:
    """What the catalog remembers: where and how it is published, and of what.

    catalog      a number that this catalog has given itself
    collection   the number of the collection
    generation   of the catalog, as the collection has it, or `pending`, which it is being given
    places       the folder to which paths are relative and, with `published_as`, those that it takes the place of
    """

    address: str
    machine: str
    published_as: str
    catalog: str
    collection: str = ""
    generation: int = 0
    pending: int = 0
    places: tuple[str, ...] = ()

    @classmethod
    def of(cls, catalog: Catalog) -> "_Publication | None":
        try:
            known = json.loads(catalog.publication or "null")
            return known and cls(**known | {"places": tuple(known["places"])})
        except (ValueError, TypeError, KeyError):
            return None

    def is_done(self, index_folder: Path, catalog: Catalog) -> bool:
        """Whether everything of the catalog is published, with the paths that it has now."""
        is_in_place = self.places[:1] == (str(index_folder.parent),)
        return is_in_place and self.generation == catalog.generation and not catalog.count_changes()

    def save(self, catalog: Catalog) -> None:
        """Within a transaction."""
        catalog.set_publisher(self.catalog)
        catalog.set_publication(json.dumps(asdict(self)))


def publish(
    index_folder: Path, options: PublishOptions | None = None, callback: UpdateCallback | None = None
) -> PublishSummary:
    """Bring what this machine has in a collection up to date with its index.

    Without an address, the index is published where it was before; nobody is asked if it has not changed since then.
    Raises HashcliError, of these classes among others: NotPublishedError, NoServerError, TokenRefusedError,
    ForeignCollectionError, OtherModelCollectionError, MachineTakenError, IndexBusyError, IndexNotFoundError.
    """
    options, callback = options or PublishOptions(), callback or UpdateCallback()
    Catalog.open(index_folder).close()  # raises if there is none, where create_or_open would make one
    with writer_lock(index_folder), Catalog.create_or_open(index_folder, callback.migrating) as catalog:
        before = _Publication.of(catalog)
        wanted = _wanted(index_folder, before, options, catalog.publisher or uuid.uuid4().hex)
        if options == PublishOptions() and before and before.is_done(index_folder, catalog):
            return PublishSummary()
        model = catalog.model
        if model is None:
            raise HashcliError(f"The index in {index_folder} is empty.", "Add photos to it, then publish it.")
        with Collection(MilvusAddress.parse(wanted.address)) as collection:
            _open(collection, _by_name(model), is_approximate=options.approximate)
            return _Publishing(index_folder, catalog, collection, callback).run(before, wanted, rebuild=options.rebuild)


def unpublish(index_folder: Path, address: str | None = None) -> int:
    """Take everything that this machine has published out of the collection, by default the one where the index is
    published now, which is then forgotten. Returns how many items that were. Raises as `publish` does."""
    Catalog.open(index_folder).close()
    with writer_lock(index_folder), Catalog.create_or_open(index_folder) as catalog:
        known = _Publication.of(catalog)
        published_at = known.address if known else None
        if not catalog.publisher or not (address or published_at):
            raise NotPublishedError(index_folder)
        where = MilvusAddress.parse(address or str(published_at))
        with Collection(where) as collection:
            count = 0
            if collection.exists():
                collection.open()
                mine = {known.machine} if known and known.address == str(where) else set()  # perhaps half taken out
                for machine in {*collection.machines(), *mine}:
                    count += _take_out(collection, machine, catalog.publisher)
                collection.finish(0)
        if str(where) == published_at:
            with catalog.transaction():
                catalog.set_publication(None)
        return count


def _take_out(collection: Collection, machine: str, publisher: str) -> int:
    """Take the rows of a machine out, unless they are another index's; returns how many items that were."""
    record = collection.record(machine)
    if record and record.catalog != publisher:
        return 0
    count = collection.count(of_machine(machine))
    collection.delete_machine(machine)
    return count


def published_to(index_folder: Path) -> str | None:
    """The address of the collection to which an index is published; None if it is not."""
    with Catalog.open(index_folder) as catalog:
        known = _Publication.of(catalog)
        return known.address if known else None


def _wanted(index_folder: Path, before: _Publication | None, options: PublishOptions, publisher: str) -> _Publication:
    address = str(MilvusAddress.parse(options.address)) if options.address else before and before.address
    if not address:
        raise NotPublishedError(index_folder)
    machine = options.machine or (before.machine if before else socket.gethostname())
    if len(machine) > _LONGEST_LABEL or not machine.isprintable() or set(machine) & set("\"'\\"):
        raise HashcliError(
            f"{machine!r} cannot be the label of a machine.", "It has 64 characters at most, and no quotes among them."
        )
    prefix = options.published_as if options.published_as is not None else before.published_as if before else ""
    return _Publication(address, machine, prefix, publisher)


def _by_name(model: IndexedModel) -> IndexedModel:
    """The model as other machines find it: by its name."""
    return model._replace(source=Path(model.source).name)


def _open(collection: Collection, model: IndexedModel, *, is_approximate: bool) -> None:
    """Open the collection, which is made if need be. Raises OtherModelCollectionError for codes of another model, and
    HashcliError for a collection that is exact and should not be."""
    if not collection.exists():
        collection.create(model, is_approximate=is_approximate)
    there = collection.open()
    if is_approximate and not there.is_approximate:
        raise HashcliError(
            f"{collection.address} is there already, and compares a query with every code.",
            "Publish to a collection of another name, or leave it exact.",
        )
    if there.fingerprint != model.fingerprint:
        raise OtherModelCollectionError(
            f"{collection.address} holds codes of {there.model} ({there.fingerprint}); those of this index are of "
            f"{model.source} ({model.fingerprint}), and cannot be compared with them.",
            "Publish to a collection of another name.",
        )


class _Publishing:
    """One run of publishing a catalog, of which this is the one writer, to a collection."""

    def __init__(self, index_folder: Path, catalog: Catalog, collection: Collection, callback: UpdateCallback) -> None:
        self._folder = index_folder
        self._catalog, self._collection, self._callback = catalog, collection, callback
        self._summary = PublishSummary()

    def run(self, before: _Publication | None, wanted: _Publication, *, rebuild: bool) -> PublishSummary:
        collection, generation = self._collection, self._catalog.generation
        roots = tuple(sorted(self._catalog.roots(), key=len, reverse=True)) if wanted.published_as else ()
        wanted = replace(
            wanted,
            collection=collection.properties.uid,
            pending=generation,
            places=(str(self._folder.parent), *roots),
        )
        record = collection.record(wanted.machine)
        if record and record.catalog != wanted.catalog and not rebuild:  # several machines may have one name
            raise MachineTakenError(
                f"{collection.address} has rows of a machine {wanted.machine} from another index, in {record.folder}.",
                "Choose another label for this machine or, if that index is gone, have its rows replaced.",
            )
        is_known = before is not None and record is not None and _is_known(before, wanted, record) and not rebuild
        if record and is_known:
            wanted = replace(wanted, generation=record.generation)
        else:
            if before and (before.address, before.collection) == (wanted.address, wanted.collection):
                _take_out(collection, before.machine, before.catalog)  # which may have had another label
            collection.delete_machine(wanted.machine)
            record = None
        with self._catalog.transaction():
            wanted.save(self._catalog)
            shown_before = before and (before.published_as, before.places)
            if not is_known or shown_before != (wanted.published_as, wanted.places):
                self._catalog.note_all()
            self._catalog.note_texts_about_changed_photos()
        mine = MachineRecord(wanted.catalog, str(self._folder), generation)
        if record != mine or self._catalog.count_changes():
            collection.set_record(wanted.machine, mine)
            self._send(wanted)
            collection.finish(self._summary.published)
        with self._catalog.transaction():
            replace(wanted, generation=generation).save(self._catalog)
        return self._summary

    def _send(self, wanted: _Publication) -> None:
        """Everything that is noted, in batches, each of which is forgotten once the server has it."""
        self._callback.planned(self._catalog.count_changes())
        gone = self._catalog.changed_to_nothing()
        for ids in batched(gone, _BATCH):
            self._collection.delete([row_id(wanted.machine, id_) for id_ in ids])
            self._done(ids)
        self._summary.withdrawn = len(gone)

        def send(batch: list[tuple[int, Item, FilterFields]]) -> None:
            self._collection.upsert(list(_rows(kind, batch, wanted)))

        with Catalog.open(self._folder) as reader:
            for kind in Kind:
                with reader.snapshot():
                    batches = batched(reader.changed_items(kind), _BATCH)
                    for batch, error in prefetch(send, batches, CALLS_AT_ONCE):
                        if error:
                            raise error
                        self._done([id_ for id_, _, _ in batch])
                        self._summary.published += len(batch)

    def _done(self, ids: list[int]) -> None:
        with self._catalog.transaction():
            self._catalog.forget_changes(ids)
        self._callback.advanced(len(ids))


def _is_known(before: _Publication, wanted: _Publication, record: MachineRecord) -> bool:
    """Whether all that differs between catalog and collection is noted in the catalog."""
    return (
        (before.address, before.machine, before.collection) == (wanted.address, wanted.machine, wanted.collection)
        and record.catalog == wanted.catalog
        and record.generation in (before.generation, before.pending)
    )


def _rows(
    kind: Kind, items: Iterable[tuple[int, Item, FilterFields]], publication: _Publication
) -> Iterator[PublishedRow]:
    """The rows of some items."""
    found = list(items) if not publication.published_as else [_as_published(*one, publication) for one in items]
    table = FilterTable.of(fields for _, _, fields in found)
    for (id_, item, fields), group, time in zip(found, table.groups.tolist(), table.times.tolist(), strict=True):
        name = table.names[group]
        yield PublishedRow(
            id=row_id(publication.machine, id_),
            kind=kind,
            about=stored(fields.path),
            type=stored(name.suffix),
            clock=name.clock,
            time=time,
            latitude=NOWHERE if fields.latitude is None else fields.latitude,
            longitude=NOWHERE if fields.longitude is None else fields.longitude,
            shown=as_shown(item, publication.machine),
            code=item.code or b"",
        )


def _as_published(
    id_: int, item: Item, fields: FilterFields, publication: _Publication
) -> tuple[int, Item, FilterFields]:
    """An item with paths as others see them."""
    path, about = (_published_path(one, publication) for one in (item.path, fields.path))
    photo = _published_path(item.photo, publication) if item.photo else None
    return id_, item._replace(path=path, photo=photo), fields._replace(path=about)


def _published_path(path: str, publication: _Publication) -> str:
    """A path with the prefix in the place of its indexed folder."""
    prefix = publication.published_as
    folder = next((root for root in publication.places[1:] if is_within(path, root)), os.path.dirname(path))
    below = os.path.relpath(path, folder)
    return prefix.rstrip("/") + "/" + (quote(os.fsencode(below)) if "://" in prefix else below)
