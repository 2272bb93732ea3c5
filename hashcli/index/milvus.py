"""One collection on a Milvus server: its fields, and what is asked of the server. Only this file uses Milvus's client.

A row is an item of some machine's catalog. Its id is made of the machine's label and of the number of the item there,
which a catalog never uses again: publishing an item twice changes nothing, and a photo that has moved keeps its row.
Each machine has one more row, of the kind MACHINE, that says what of its catalog is published.
"""

import json
import logging
import os
import time
import uuid
import warnings
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import numpy as np

from hashcli.errors import HashcliError, how_to_install
from hashcli.hashmodel.prefetch import prefetch
from hashcli.index.catalog import IndexedModel, Item
from hashcli.index.code_index import Candidates
from hashcli.index.milvus_address import TOKEN_VARIABLE, MilvusAddress
from hashcli.index.places import Place

FORMAT = 2  # of the collection: its fields, and what they mean
MACHINE = 2  # the kind of a machine's own row, after those of items
NOWHERE = -(2**31)  # in the place of a latitude or longitude that is not known
MOST = 16384  # results of one query that Milvus gives at most
CALLS_AT_ONCE = 2  # that search or write: the server works on one while the other is made or read

_NUMBERS = 40  # bits of an id that are the item's number; the machine's label has those above
_LONGEST = 65535  # bytes of a text
_OLDEST_SERVER = (2, 3)
_READING, _WRITING = 10, 60  # seconds for which a server that does not answer is asked again
_BUSY = {1, 2, 4, 8, 101, 103, 203, 501, 502, 503, *range(901, 906)}  # errors that pass, as when it starts
_FULL = {3, 7, 9}
_NOT_INDEXED = 700
_IDS_AT_ONCE = 10_000
_CELLS, _SEARCHED_CELLS = 1024, 128  # of an approximate collection: into which its codes are sorted by likeness
_RESULTS_AT_ONCE = 100_000  # of all queries of one call, with a code each
_CODE_TEXT = "code_text"  # each row's code once more, as a text: Milvus gives texts out in half the time of vectors

T = TypeVar("T")


class PublishedRow(NamedTuple):
    """A row of the collection, with its fields in their order.

    It has few fields of text, because Milvus takes each for 256 bytes when it decides how many rows make a segment, and
    every segment costs a search time.

    id           see `row_id`
    kind         0 a photo, 1 a text
    about, type, clock, time, latitude, longitude   what filters look at: the path of the photo that the item is or is
                 about, else its own, and the rest as in `filter_table`; of a text about a photo, the photo's
    shown        what results show, see `as_shown`
    code         the packed code
    """

    id: int
    kind: int
    about: str
    type: str
    clock: int
    time: int
    latitude: int
    longitude: int
    shown: str
    code: bytes


_SMALL_NUMBERS = ("kind", "clock")
_TEXTS = ("about", "type", "shown")

# Names that are not UTF-8 have lone surrogates in Python. Milvus cannot keep these: private characters stand for them.
_TO_PRIVATE = {0xDC80 + number: 0x10DC80 + number for number in range(128)}
_FROM_PRIVATE = {private: lone for lone, private in _TO_PRIVATE.items()}


@dataclass(frozen=True)
class Properties:
    """What a collection says of itself: its format, the name and fingerprint of the model of its codes, their length,
    a number that no other collection has, also none of the same name, and whether searches look at a part of the codes
    only."""

    hashcli: int
    model: str
    fingerprint: str
    bits: int
    uid: str
    is_approximate: bool = False


@dataclass(frozen=True)
class MachineRecord:
    """What of a machine's catalog is published: a number that the catalog has given itself, the folder it is in, and
    its generation."""

    catalog: str
    folder: str
    generation: int


class MilvusError(HashcliError):
    """What a Milvus server answered, or that it did not answer."""


class NoServerError(MilvusError):
    """No Milvus server answers at an address."""


class TokenRefusedError(MilvusError):
    """A server does not take the token, or wants one."""


class NoCollectionError(MilvusError):
    """A server has no collection of that name."""


class ForeignCollectionError(MilvusError):
    """A collection was not made by hashcli, or by another version of it."""


class OtherModelCollectionError(MilvusError):
    """A collection holds codes of another hash model."""


class MachineTakenError(MilvusError):
    """The rows of a machine's label come from another index."""


def row_id(machine: str, number: int) -> int:
    """The id of an item, by its number in its machine's catalog; number 0 is the machine's own row.

    Ids of one machine are in the order of the numbers, as equally near items are.
    """
    return _first_id(machine) + number


@lru_cache
def _first_id(machine: str) -> int:
    label = int.from_bytes(blake2b(machine.encode(errors="surrogateescape"), digest_size=8).digest())
    return label >> (64 - 63 + _NUMBERS) << _NUMBERS


def stored(text: str) -> str:
    """A name as the collection keeps it."""
    return text if text.isascii() else text.translate(_TO_PRIVATE)


def _as_found(text: str) -> str:
    return text if text.isascii() else text.translate(_FROM_PRIVATE)


def quoted(value: Any) -> str:
    """JSON as the collection keeps it, which is also how Milvus reads a text in an expression, whatever it holds."""
    return stored(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def of_machine(machine: str) -> str:
    """The expression that takes the items of a machine, without its own row."""
    return f"{_first_id(machine)} < id < {_first_id(machine) + 2**_NUMBERS}"


def as_shown(item: Item, machine: str) -> str:
    """What results show of an item, as the collection keeps it."""
    times = item.taken, item.taken_from, item.mtime_ns
    place = item.place and item.place.stored()
    return quoted([item.path, item.text, item.line, item.photo, *times, item.hash.hex(), place, machine])


def _item(shown: str) -> Item:
    path, text, line, photo, taken, taken_from, modified, content, place, machine = json.loads(_as_found(shown))
    where = place and Place.from_stored(*place)
    return Item(path, text, line, photo, taken, taken_from, modified, None, bytes.fromhex(content), where, machine)


class Collection:
    """A connection to one collection, and where a search looks up what it shows; see `ItemSource`."""

    def __init__(self, address: MilvusAddress) -> None:
        """Connect. Raises NoServerError, TokenRefusedError, or HashcliError without Milvus's client."""
        self.address = address
        self._server = _connect(address)
        self._schema: dict[str, Any] = {}
        self._is_closed = False
        version = self._asked(lambda: self._server.get_server_version(timeout=_READING))
        numbers = tuple(int(part) for part in version.lstrip("v").split("-")[0].split(".")[:2] if part.isdigit())
        if numbers and numbers < _OLDEST_SERVER:
            raise MilvusError(f"The Milvus server at {address.server} is {version}.", "hashcli needs 2.3 or newer.")

    def close(self) -> None:
        self._is_closed = True  # for threads that ask again
        self._server.close()

    def __enter__(self) -> "Collection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the collection ---

    def exists(self) -> bool:
        name = self.address.collection
        return bool(self._asked(lambda: self._server.has_collection(name, timeout=_READING)))

    def create(self, model: IndexedModel, *, is_approximate: bool = False) -> None:
        """Make it for the codes of a model, unless it is there."""
        from pymilvus import CollectionSchema, DataType, FieldSchema

        fields = [FieldSchema("id", DataType.INT64, is_primary=True)]
        for name in PublishedRow._fields[1:-1]:
            if name in _TEXTS:
                fields.append(FieldSchema(name, DataType.VARCHAR, max_length=_LONGEST))
            else:
                fields.append(FieldSchema(name, DataType.INT8 if name in _SMALL_NUMBERS else DataType.INT64))
        fields.append(FieldSchema("code", DataType.BINARY_VECTOR, dim=model.bits))
        fields.append(FieldSchema(_CODE_TEXT, DataType.VARCHAR, max_length=len(_code_text(bytes(model.bits // 8)))))
        properties = Properties(FORMAT, model.source, model.fingerprint, model.bits, uuid.uuid4().hex, is_approximate)
        schema = CollectionSchema(fields, description=json.dumps(asdict(properties)))
        name = self.address.collection
        try:
            self._asked(lambda: self._server.create_collection(name, schema, timeout=_WRITING), _WRITING)
        except MilvusError:
            if not self.exists():
                raise
            return  # another machine has just made it, and says how its codes are searched
        self._index_codes(properties)

    def _index_codes(self, properties: Properties) -> None:
        """Say how the codes are searched, unless that was said before."""
        kind, parameters = ("BIN_IVF_FLAT", {"nlist": _CELLS}) if properties.is_approximate else ("BIN_FLAT", {})
        name, index = self.address.collection, {"index_type": kind, "metric_type": "HAMMING", "params": parameters}
        self._asked(lambda: self._server.create_index(name, "code", index, timeout=_WRITING), _WRITING)

    def open(self) -> Properties:
        """Have it loaded, and read what it says of itself. Raises NoCollectionError and ForeignCollectionError."""
        name = self.address.collection
        if not self.exists():
            raise NoCollectionError(
                f"There is no collection {name} at {self.address.server}.", "Publish an index to it."
            )
        self._schema = self._asked(lambda: self._server.describe_collection(name, timeout=_READING))
        try:
            properties = Properties(**json.loads(self._schema["description"]))
        except (ValueError, TypeError):
            raise ForeignCollectionError(
                f"The collection {name} at {self.address.server} is not one of hashcli's.", "Choose another name."
            ) from None
        if properties.hashcli != FORMAT:
            raise ForeignCollectionError(
                f"The collection {name} at {self.address.server} is of format {properties.hashcli}; this hashcli knows "
                f"{FORMAT}.",
                "Update hashcli, or publish to a collection of another name.",
            )
        self.properties = properties
        try:
            self._load()
        except MilvusError as error:
            if getattr(error.__cause__, "code", None) != _NOT_INDEXED:
                raise
            self._index_codes(properties)  # for whoever made the collection: that one may have been killed right then
            self._load()
        return properties

    @property
    def model(self) -> IndexedModel:
        """The model of the codes, by its name."""
        return IndexedModel(self.properties.model, self.properties.fingerprint, self.properties.bits)

    # --- writing ---

    def upsert(self, rows: Sequence[PublishedRow]) -> None:
        from pymilvus import DataType

        types = {field["name"]: field["type"] for field in self._schema["fields"]}
        columns = dict(zip(PublishedRow._fields, map(list, zip(*rows, strict=True)), strict=True))
        columns[_CODE_TEXT] = [_code_text(row.code) for row in rows]
        entities = [{"name": name, "type": DataType(types[name]), "values": column} for name, column in columns.items()]
        name = self.address.collection
        self._asked(lambda: self._server.upsert(name, entities, schema=self._schema, timeout=_WRITING), _WRITING)

    def delete(self, ids: Iterable[int]) -> None:
        name, expression = self.address.collection, f"id in {list(ids)}"
        self._asked(lambda: self._server.delete(name, expression, timeout=_WRITING), _WRITING)

    def delete_machine(self, machine: str) -> None:
        """Take out all rows of a machine. First its own: what is left of the others after a kill counts as nothing."""
        self.delete([row_id(machine, 0)])
        while rows := self._query(of_machine(machine), ["id"], consistency_level="Strong", limit=_IDS_AT_ONCE):
            self.delete([row["id"] for row in rows])

    def record(self, machine: str) -> MachineRecord | None:
        """What of a machine's catalog is published; None if nothing is."""
        rows = self._query(f"id == {row_id(machine, 0)}", ["shown"], consistency_level="Strong")
        if not rows:
            return None
        label, record = json.loads(_as_found(rows[0]["shown"]))
        if label != machine:
            raise MachineTakenError(
                f"The labels {machine} and {label} cannot both be used in {self.address}.",
                "Choose another label for this machine.",
            )
        return MachineRecord(**record)

    def set_record(self, machine: str, record: MachineRecord) -> None:
        row = PublishedRow(
            id=row_id(machine, 0),
            kind=MACHINE,
            about="",
            type="",
            clock=0,
            time=0,
            latitude=NOWHERE,
            longitude=NOWHERE,
            shown=quoted([machine, asdict(record)]),
            code=bytes(self.properties.bits // 8),
        )
        self.upsert([row])

    def finish(self, rows: int) -> None:
        """Wait until what was written can be found. Many rows are written out, after which searches are faster."""
        name = self.address.collection
        if rows >= MOST:
            self._asked(lambda: self._server.flush([name], timeout=_WRITING), _WRITING)
        self._load()  # a server that was started again may have to be told
        self._query("id == 0", ["id"], consistency_level="Strong")

    def _load(self) -> None:
        """Have it loaded, unless it is, perhaps in several replicas."""
        from pymilvus.client.types import LoadState

        name = self.address.collection
        if self._asked(lambda: self._server.get_load_state(name, timeout=_READING)) == LoadState.Loaded:
            return
        self._asked(lambda: self._server.load_collection(name, timeout=_WRITING), _WRITING)

    # --- reading ---

    def machines(self) -> list[str]:
        """The labels of the machines that publish to it."""
        rows = self._query(f"kind == {MACHINE}", ["shown"], limit=MOST)
        return sorted(json.loads(_as_found(row["shown"]))[0] for row in rows)

    def count(self, expression: str) -> int:
        """How many rows an expression takes."""
        return int(self._query(expression, ["count(*)"])[0]["count(*)"])

    def places(self, expression: str) -> list[tuple[int, int, int]]:
        """(id, latitude, longitude) of MOST of the rows that an expression takes, as the catalog stores them."""
        fields = ["id", "latitude", "longitude"]
        return [tuple(row[name] for name in fields) for row in self._query(expression, fields, limit=MOST)]

    def check_bits(self, bits: int) -> None:
        """Raise ForeignCollectionError if the codes have another length than their hash model gives."""
        if bits != self.properties.bits:
            raise ForeignCollectionError(
                f"The codes in {self.address} have {self.properties.bits} bits, and not {bits} as those of "
                f"{self.properties.model}.",
                "Publish to a collection of another name.",
            )

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """A server has none: rows that leave between two questions are left out of the results."""
        yield

    def items(self, ids: Iterable[int]) -> dict[int, Item]:
        """What results show of each row; ids that are not there are left out."""
        wanted, items = list(ids), {}
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            some = wanted[start : start + _IDS_AT_ONCE]
            for row in self._query(f"id in {some}", ["id", "shown"]):
                items[row["id"]] = _item(row["shown"])
        return items

    def search(
        self, codes: np.ndarray, expression: str, limit: int, distances: tuple[int, int] | None = None
    ) -> Iterator[Candidates]:
        """For each of the codes uint8 [q, bits / 8] the nearest rows that an expression takes, MOST at most and nearest
        first; with `distances`, those at no less than the first and less than the second. Of rows at the largest
        distance, any may be left out."""
        at_once = max(1, _RESULTS_AT_ONCE // limit)
        parts = (codes[start : start + at_once] for start in range(0, len(codes), at_once))
        for _, found in prefetch(lambda some: self._search(some, expression, limit, distances), parts, CALLS_AT_ONCE):
            if isinstance(found, Exception):
                raise found
            yield from found

    def _search(
        self, codes: np.ndarray, expression: str, limit: int, distances: tuple[int, int] | None
    ) -> list[Candidates]:
        """The results are read from the message: the client makes an object of each, which takes longer than Milvus."""
        from pymilvus.client.prepare import Prepare
        from pymilvus.client.utils import check_status

        parameters = {"nprobe": _SEARCHED_CELLS} if self.properties.is_approximate else {}
        if distances is not None:
            parameters |= {"range_filter": distances[0], "radius": distances[1]}
        request = Prepare.search_requests_with_expr(
            self.address.collection,
            [code.tobytes() for code in codes],
            "code",
            {"metric_type": "HAMMING", "params": parameters},
            limit,
            expression,
            output_fields=[_CODE_TEXT],
            consistency_level="Bounded",
        )

        def search() -> Any:
            answer = self._server._stub.Search(request, timeout=_READING + len(codes))
            check_status(answer.status)
            return answer.results

        results = self._asked(search)
        ids = np.array(results.ids.int_id.data, np.int64)
        away = np.rint(np.array(results.scores, np.float32)).astype(np.int64)
        texts = results.fields_data[0].scalars.string_data.data if len(ids) else []
        packed = _codes_of(texts, codes.shape[1])
        ends = np.cumsum(results.topks or [0] * len(codes))
        return [
            Candidates(ids[end - size : end], away[end - size : end], packed[end - size : end])
            for end, size in zip(ends, results.topks, strict=True)
        ] or [Candidates(ids, away, packed) for _ in codes]

    def _query(self, expression: str, fields: list[str], **options: Any) -> list[dict[str, Any]]:
        name = self.address.collection
        options = {"consistency_level": "Bounded"} | options
        seconds = _WRITING if options["consistency_level"] == "Strong" else _READING
        return self._asked(
            lambda: self._server.query(name, expression, output_fields=fields, timeout=seconds, **options), seconds
        )

    def _asked(self, ask: Callable[[], T], seconds: float = _READING) -> T:
        """The server's answer. While it does not answer, or is busy, it is asked again for so many seconds, in steps
        that grow. Raises MilvusError."""
        deadline, wait = time.monotonic() + seconds, 0.1
        while True:
            try:
                return ask()
            except Exception as error:
                if type(error).__module__.partition(".")[0] not in ("grpc", "pymilvus"):
                    raise  # ours
                if not _passes(error) or self._is_closed or time.monotonic() + wait > deadline:
                    raise _explained(error, self.address) from error
            time.sleep(wait)
            wait = min(2 * wait, 5)


def _code_text(code: bytes) -> str:
    """A code in Base64, filled up to whole groups of three bytes so that texts can be decoded joined."""
    return b64encode(code + bytes(-len(code) % 3)).decode()


def _codes_of(texts: Sequence[str], width: int) -> np.ndarray:
    """The codes uint8 [texts, width] of such texts."""
    joined = np.frombuffer(b64decode("".join(texts)), np.uint8)
    return joined.reshape(len(texts), width + -width % 3)[:, :width]


def _connect(address: MilvusAddress) -> Any:
    """Milvus's client, connected. The token is in nothing that it prints: it prints nothing."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what goes wrong is said once, by us
    try:
        with warnings.catch_warnings(action="ignore"):  # of libraries that it imports
            from pymilvus.client.grpc_handler import GrpcHandler
    except ImportError as error:
        raise HashcliError(f"{address} needs Milvus's client: {error}.", how_to_install("milvus")) from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    try:
        server = GrpcHandler(address=address.server, secure=address.tls, token=os.environ.get(TOKEN_VARIABLE, ""))
        server._wait_for_channel_ready(timeout=_READING)
    except Exception as error:
        raise _explained(error, address, connecting=True) from error
    return server


def _status_of(error: Exception) -> str:
    """The name of gRPC's status, of an error of gRPC itself."""
    code = getattr(error, "code", None)
    if isinstance(code, int) or code is None:
        return ""
    status = code() if callable(code) else code
    return str(getattr(status, "name", ""))


def _passes(error: Exception) -> bool:
    return _status_of(error) in ("UNAVAILABLE", "DEADLINE_EXCEEDED") or getattr(error, "code", None) in _BUSY


def _explained(error: Exception, address: MilvusAddress, *, connecting: bool = False) -> HashcliError:
    """What an error of the client or the server means."""
    if isinstance(error, HashcliError):
        return error
    status, code = _status_of(error), getattr(error, "code", None)
    said = str(getattr(error, "message", "") or error)
    lower = said.lower()
    if (
        status in ("UNAUTHENTICATED", "PERMISSION_DENIED")
        or "auth check failure" in lower
        or "permission deny" in lower
    ):
        token = os.environ.get(TOKEN_VARIABLE)
        problem = f"does not take the token in {TOKEN_VARIABLE}" if token else "wants a token"
        return TokenRefusedError(
            f"The Milvus server at {address.server} {problem}.",
            f"Set the environment variable {TOKEN_VARIABLE} to the token, or to user:password.",
        )
    if connecting:
        return NoServerError(
            f"No Milvus server answers at {address.server}{' by TLS' * address.tls}.",
            "Check that it runs, and its address"
            + (", and that its certificate is trusted." if address.tls else "; milvus+tls:// if it wants encryption."),
        )
    if code in _FULL or any(sign in lower for sign in ("no space left", "disk quota", "memory quota")):
        return MilvusError(
            f"The Milvus server at {address.server} has no room for more.",
            "Give it more disk or memory, then try again: publishing goes on from where it was.",
        )
    if _passes(error):
        return NoServerError(
            f"The Milvus server at {address.server} does not answer any more.",
            "Try again when it runs: publishing goes on from where it was.",
        )
    return MilvusError(f"The Milvus server at {address.server} reports: {said:.300}")
