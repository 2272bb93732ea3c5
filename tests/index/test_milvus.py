"""Publishing indexes to a collection on a real Milvus server, and searching it."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashcli.errors import HashcliError
from hashcli.hashmodel.model import HashModel
from hashcli.index import milvus, milvus_index
from hashcli.index import publish as publish_module
from hashcli.index.catalog import NO_FACTS, Catalog, FileState, IndexedModel, PhotoFacts
from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.files.text_files import Text
from hashcli.index.filter import Filter
from hashcli.index.locations import IndexLocation
from hashcli.index.milvus import (
    MOST,
    Collection,
    ForeignCollectionError,
    MachineTakenError,
    MilvusError,
    NoCollectionError,
    NoServerError,
    OtherModelCollectionError,
    TokenRefusedError,
    _explained,
    row_id,
)
from hashcli.index.milvus_address import TOKEN_VARIABLE, MilvusAddress
from hashcli.index.publish import NotPublishedError, publish, published_to, unpublish
from hashcli.index.query import Query
from hashcli.index.search import Index, index_at
from hashcli.index.summary import PublishOptions, PublishSummary
from hashcli.index.update import refresh_derived_files
from hashcli.index.update_callback import UpdateCallback
from tests import milvus_server
from tests.conftest import Run, json_rows, make_tiny_model
from tests.index.indexing import IndexFolder
from tests.milvus_server import TOKEN, MilvusServer

WHY_NONE = milvus_server.why_none()
pytestmark = pytest.mark.skipif(bool(WHY_NONE), reason=WHY_NONE or "")

_NUMBERS = itertools.count()
IMPORTING_AS_HERE = {"PYTHONPATH": os.pathsep.join(sys.path)}
FOLDERS = ("a", "b_c", "ü 100%", '"')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    folder = tmp_path_factory.mktemp("milvus")
    server = MilvusServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, milvus_server.TOKEN)


@pytest.fixture
def address(server: MilvusServer) -> str:
    """Of a collection that is not there yet."""
    return server.address(f"test_{next(_NUMBERS)}")


def opened(address: str) -> Index:
    return index_at(IndexLocation(Path(), collection=MilvusAddress.parse(address)))


def make_index_with_ties(folder: Path, model: Path, count: int) -> Path:
    """An index of photos that are nowhere, and texts about some. Their codes are few, and so are the distances."""
    rng = np.random.default_rng(count)
    few = rng.integers(0, 256, (40, 8), dtype=np.uint8) & 0x11
    with Catalog.create_or_open(folder) as catalog:
        catalog.set_model(IndexedModel(str(model), HashModel(model).fingerprint, 64))
        with catalog.changing_items():
            for number in range(count):
                code, content = few[rng.integers(40)], rng.integers(count // 2).tobytes()
                code = few[content[0] % 40] if number % 3 else code
                day = None if number % 4 == 0 else 1_700_000_000 + int(rng.integers(400)) * 86_400
                name = (
                    f"{['a', 'b_c', 'ü 100%', chr(34)][number % 4]}/{number % 7}/p{number}.{['jpg', 'PNG'][number % 2]}"
                )
                place = (
                    (480_000_000 + int(rng.integers(10**7)), 20_000_000 + int(rng.integers(10**6)))
                    if number % 5 == 0
                    else (None, None)
                )
                path = str(folder.parent / "photos" / name)
                state = FileState(1, 1_600_000_000_000_000_000 + int(rng.integers(10**17)))
                catalog.add_photo(path, state, content, code, PhotoFacts(day, None if day is None else 1, 0, *place))
                if number % 6 == 0:
                    texts = [(Text(line, f"words {line % 2}", path), few[line].tobytes()) for line in (1, 2, 3)]
                    catalog.set_texts(path + ".txt", state, content, texts)
        refresh_derived_files(catalog, folder)
    return folder


def answers(index: Index, queries: list[Query], **options: Any) -> list[Any]:
    """Everything but what can differ: whether a file is there is not known of other machines."""
    found = index.search_many(queries, words="off", **options)
    return [
        (one.nearest_distance, one.why_none, [replace(row, machine=None, is_missing=False) for row in one])
        for one in found
    ]


@pytest.mark.parametrize("at_once", [MOST, 100])
def test_answers_are_those_of_a_local_index_in_the_same_order(
    tiny_model: Path, tmp_path: Path, address: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when more items are equally near than Milvus gives at once."""
    count = 3000 if at_once == MOST else 300
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, count)
    publish(folder, PublishOptions(address))
    monkeypatch.setattr(milvus_index, "MOST", at_once)
    rng = np.random.default_rng(0)
    queries = [Query(output=output) for output in rng.choice([-1.0, 1.0], (3, 64))]
    queries += [Query(output=output) for output in rng.standard_normal((3, 64))]
    photos = folder.parent / "photos"
    any_distance = DistanceLimit()
    with Index(folder) as local, opened(address) as collection:
        for options in (
            {"k": 1},
            {"k": 10, "kinds": ["image", "text"]},
            {"k": 10, "reranked": 0},
            {"k": 100, "reranked": 7, "all_copies": True},
            {"k": 2000},
            {"k": 5000, "kinds": "text"},
            {"k": 20, "limit": DistanceLimit(max_distance=28)},
            {"k": 20, "limit": DistanceLimit(within=2), "sort": "date"},
            {"k": 50, "where": Filter(folders=[photos / "b_c"])},
            {"k": 50, "where": Filter(folders=[photos / '"' / "3", photos / "ü 100%"], types="png")},
            {"k": 50, "where": Filter(folders=[photos / "a/0/p0.jpg"]), "kinds": ["text", "image"]},
            {"k": 50, "where": Filter(folders=[photos / "no"])},
            {"k": 50, "where": Filter(after="2024-02-03", before="2024-08"), "kinds": ["image", "text"]},
            {"k": 50, "where": Filter(before="2023")},
            {"k": 50, "where": Filter(near="48.5,2,20km"), "kinds": ["image", "text"]},
        ):
            expected = answers(local, queries, **({"limit": any_distance} | options))
            assert answers(collection, queries, **({"limit": any_distance} | options)) == expected, options


def test_an_approximate_collection_finds_the_nearest(tiny_model: Path, tmp_path: Path, address: str) -> None:
    """It has so few photos that it compares a query with each."""
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, 300)
    exact = address + "_exact"
    publish(folder, PublishOptions(address, approximate=True))
    with Collection(MilvusAddress.parse(address)) as collection:
        assert collection.open().is_approximate
        (index,) = collection._server.list_indexes(address.rpartition("/")[2])
        assert {"BIN_IVF_FLAT", "HAMMING"} <= {pair.value for pair in index.params}
    assert same_as(folder, address)
    publish(folder, PublishOptions(exact))
    with pytest.raises(HashcliError, match="compares a query with every code"):
        publish(folder, PublishOptions(exact, approximate=True))


def same_as(folder: Path, address: str) -> bool:
    """Whether a collection that one machine fills has every item of an index, and nothing else."""
    queries = [Query(output=np.random.default_rng(1).standard_normal(64))]
    everything: dict[str, Any] = {"k": 10_000, "kinds": ["image", "text"], "all_copies": True, "limit": DistanceLimit()}
    with Index(folder) as local, opened(address) as collection:
        return answers(local, queries, **everything) == answers(collection, queries, **everything)


def test_a_refresh_publishes_what_changed(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path, address: str
) -> None:
    (photos / "coins.txt").write_text("a cat\nold coins")
    at, token = ["--index", tmp_path / "ix"], {TOKEN_VARIABLE: TOKEN}

    def index(*arguments: object) -> dict[str, int]:
        *_, published = json_rows(hashcli("index", *at, *arguments, "--json", **token))
        assert same_as(tmp_path / "ix", address)
        return published

    assert index(photos, "--model", tiny_model, "--publish", address) == {"published": 14, "withdrawn": 0}
    assert index("--publish", address) == {"published": 0, "withdrawn": 0}  # twice is once
    shutil.copy(photos / "coins.png", photos / "trip" / "again.png")  # added
    shutil.copy(photos / "grass.png", photos / "brick.png")  # changed
    (photos / "camera.png").rename(photos / "trip" / "moved.png")
    (photos / "clock_motion.png").unlink()
    assert index() == {"published": 3, "withdrawn": 1}
    (photos / "coins.png").rename(photos / "money.png")  # its texts are of a file that is about no photo now
    (photos / "coins.txt").rename(photos / "money.txt")
    assert index()["published"] >= 3
    (photos / "money.txt").write_text("a cat")
    os.utime(photos / "money.png", (1e9, 1e9))  # by which its texts are filtered
    assert index() == {"published": 2, "withdrawn": 2}
    hashcli("index", *at, "--forget", photos / "trip", **token)
    assert same_as(tmp_path / "ix", address)
    assert index() == {"published": 0, "withdrawn": 0}
    assert index("--publish", address, "--rebuild")["published"] == 9


def test_the_command_searches_a_collection_as_an_index(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path, address: str
) -> None:
    (photos / "coins.txt").write_text("a cat\nold coins")
    shutil.copy(photos / "coins.png", photos / "copy.png")
    token = {TOKEN_VARIABLE: TOKEN}
    index = ("index", "--index", tmp_path / "ix", photos, "--model", tiny_model)
    hashcli(*index, "--publish", address, "--machine", "attic", **token)
    (tmp_path / "queries.txt").write_text("a cat\na dog\na rocket")
    models = tmp_path / "data" / "hashcli" / "models"  # where the model is found by its name
    models.mkdir(parents=True)
    shutil.copytree(tiny_model, models / "tiny")
    for options in (
        ("a cat", "--all", "--for", "both"),
        ("a dog", "--max-distance", "34", "--in", photos / "trip"),
        ("--image", photos / "trip" / "moon.png", "--within", "20", "--type", "png", "--all-copies"),
        ("--batch", tmp_path / "queries.txt", "--all", "-k", "3", "--after", "2001"),
    ):
        local = json_rows(hashcli("search", "--index", tmp_path / "ix", *options, "--no-words", "--json"))
        found = json_rows(hashcli("search", "--index", address, *options, "--json", **token))
        assert found == [row | {"machine": "attic"} for row in local]
        assert found
    shown = hashcli("search", "--index", address, "a cat", "--all", **token)
    assert str(photos) in shown.stdout
    assert "needs an index of this machine" in hashcli("duplicates", "--index", address, status=1).stderr
    facts = json_rows(hashcli("info", "--index", address, "--json", **token))[0]
    assert (facts["photos"], facts["texts"], facts["machines"]) == (13, 2, {"attic": 15})
    assert "13" in hashcli("info", "--index", address, **token).stdout
    hashcli(*index, "--publish", address + "_2", "--approximate", **token)
    assert "approximate" in hashcli("info", "--index", address + "_2", **token).stdout


def test_paths_can_be_addresses_or_no_utf_8(tiny_model: Path, tmp_path: Path, album: Path, address: str) -> None:
    index = IndexFolder(tmp_path / "ix", tiny_model)
    (album / "trip" / "a b.txt").write_text("a cat")
    odd = album / os.fsdecode(b"\xff caf\xe9.png")  # no UTF-8
    next(album.glob("*.png")).rename(odd)
    index.update(album, album / "trip" / "a b.txt")
    publish(index.folder, PublishOptions(address, published_as="https://photos.example/all/"))
    with opened(address) as collection:
        query = Query(output=np.ones(64))
        where = Filter(folders="https://photos.example/all/trip")
        found = collection.search(query, 100, limit=DistanceLimit(), where=where, kinds=["image", "text"])
        assert {result.path.rpartition("/")[0] for result in found} == {"https://photos.example/all/trip"}
        assert "https://photos.example/all/trip/a%20b.txt" in [result.path for result in found]
    publish(index.folder, PublishOptions(published_as=""))
    assert same_as(index.folder, address)
    with opened(address) as collection:
        found = collection.search(Query(output=np.ones(64)), where=Filter(folders=odd), limit=DistanceLimit())
        assert [result.path for result in found] == [str(odd)]


_KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from hashcli.index import milvus, publish

publish._BATCH = milvus._IDS_AT_ONCE = 60
left = itertools.count(int(sys.argv[2]), -1)

def asked(self, ask, seconds=0, real=milvus.Collection._asked):
    if next(left) == 0:
        if int(sys.argv[2]) % 2:
            real(self, ask, seconds)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, ask, seconds)

milvus.Collection._asked = asked
publish.publish(Path(sys.argv[1]), publish.PublishOptions(sys.argv[3], rebuild=int(sys.argv[4])))
"""


def test_a_kill_at_any_moment_costs_repeated_work_only(tiny_model: Path, tmp_path: Path, address: str) -> None:
    """The publisher is killed before or after some question to the server, of which it has twenty or more."""
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, 400)
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    moments = rng.integers(4, 30, 10).tolist()
    for number, moment in enumerate(moments):
        program = [sys.executable, "-W", "ignore", "-c", _KILLED, folder, moment, address, number % 2]
        subprocess.run([str(part) for part in program], check=False, env=os.environ | IMPORTING_AS_HERE)
        with Catalog.create_or_open(folder) as catalog, catalog.changing_items():
            ids = [photo.id for _, photo in itertools.islice(catalog.photos(), 3)]
            catalog.remove(ids[:1])
            catalog.set_path(ids[1], str(tmp_path / f"moved{number}.jpg"), FileState(2, 3), NO_FACTS)
        if number % 3 == 0:
            publish(folder, PublishOptions(address))
    publish(folder, PublishOptions(address))
    with Catalog.create_or_open(folder) as catalog:
        refresh_derived_files(catalog, folder)
    assert same_as(folder, address), moments


def test_two_machines_publish_at_once(tiny_model: Path, tmp_path: Path, address: str) -> None:
    folders = [make_index_with_ties(tmp_path / str(count) / "ix", tiny_model, count) for count in (300, 301)]
    program = "import sys; from pathlib import Path; from hashcli.index import publish; publish._BATCH = 50; " + (
        "publish.publish(Path(sys.argv[1]), publish.PublishOptions(sys.argv[2], sys.argv[3]))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program, str(folder), address, f"machine{number}"],
            env=os.environ | IMPORTING_AS_HERE,
        )
        for number, folder in enumerate(folders)
    ]
    assert [one.wait() for one in started] == [0, 0]
    everything: dict[str, Any] = {"k": 10_000, "kinds": ["image", "text"], "all_copies": True, "limit": DistanceLimit()}
    query = Query(output=np.ones(64))
    with opened(address) as collection:
        found = collection.search(query, **everything)
    for number, folder in enumerate(folders):
        with Index(folder) as local:
            expected = local.search(query, **everything, words="off")
        assert [result.path for result in found if result.machine == f"machine{number}"] == [
            result.path for result in expected
        ]
    unpublish(folders[0])
    assert same_as(folders[1], address)
    with pytest.raises(NotPublishedError):
        publish(folders[0])


def test_a_collection_that_was_made_anew_or_a_catalog_from_a_backup_is_published_whole(
    tiny_model: Path, tmp_path: Path, address: str
) -> None:
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, 60)
    publish(folder, PublishOptions(address))
    shutil.copytree(folder, tmp_path / "backup")
    with Catalog.create_or_open(folder) as catalog, catalog.changing_items():
        catalog.remove([1, 2, 3])
    assert publish(folder) == PublishSummary(1, 3)  # a text about the first photo, by which it was filtered
    shutil.rmtree(folder)
    (tmp_path / "backup").rename(folder)
    with Catalog.create_or_open(folder) as catalog, catalog.changing_items():
        catalog.remove([4])
    assert publish(folder).published > 60
    with Catalog.create_or_open(folder) as catalog:
        refresh_derived_files(catalog, folder)
    assert same_as(folder, address)
    with Collection(MilvusAddress.parse(address)) as collection:
        collection._server.drop_collection(collection.address.collection)
    assert publish(folder, PublishOptions(address)).published > 60
    assert same_as(folder, address)


def test_a_label_belongs_to_one_index_and_a_collection_to_one_model(
    tiny_model: Path, tmp_path: Path, address: str
) -> None:
    one, other = (make_index_with_ties(tmp_path / name / "ix", tiny_model, 20) for name in ("one", "other"))
    publish(one, PublishOptions(address))
    with pytest.raises(MachineTakenError, match="another index"):
        publish(other, PublishOptions(address))
    publish(other, PublishOptions(address, "other"))
    shutil.rmtree(one)
    make_index_with_ties(one, tiny_model, 30)  # made anew in its place
    with pytest.raises(MachineTakenError):
        publish(one, PublishOptions(address))
    publish(one, PublishOptions(address, rebuild=True))
    unpublish(other)
    assert published_to(other) is None
    assert same_as(one, address)
    one = (tmp_path / "one").rename(tmp_path / "moved") / "ix"  # with its photos, whose paths are others now
    publish(one)
    assert same_as(one, address)
    publish(one, PublishOptions(machine="renamed"))
    assert same_as(one, address)
    model = make_tiny_model(tmp_path / "model" / "tiny", seed=1)
    with pytest.raises(OtherModelCollectionError, match="tiny"):
        publish(make_index_with_ties(tmp_path / "third" / "ix", model, 20), PublishOptions(address, "third"))
    assert published_to(one) == address
    assert not [file for file in one.iterdir() if TOKEN.encode() in file.read_bytes()]


def test_what_is_taken_out_is_never_another_index_s(tiny_model: Path, tmp_path: Path, address: str) -> None:
    one, other = (make_index_with_ties(tmp_path / name / "ix", tiny_model, 20) for name in ("one", "other"))
    publish(one, PublishOptions(address, "attic"))
    count = publish(other, PublishOptions(address, "cellar")).published
    publish(other, PublishOptions(address + "_2", "attic"))
    assert unpublish(other, address) == count  # where it had another label, and its present one is another index's
    assert same_as(one, address)
    assert published_to(other) == address + "_2"
    assert unpublish(other) == count
    publish(other, PublishOptions(address, "cellar"))
    publish(other, PublishOptions(address + "_2", "cellar"))
    unpublish(other)
    publish(other, PublishOptions(address, "cellar"))  # whose rows there are still known to be its own
    publish(other, PublishOptions(address + "_2"))
    unpublish(other)
    assert unpublish(other, address) == count
    publish(other, PublishOptions(address, "attic", rebuild=True))
    publish(one, PublishOptions(machine="shed"))
    with Collection(MilvusAddress.parse(address)) as collection:
        collection.open()
        assert collection.machines() == ["attic", "shed"]


def test_a_server_without_the_right_token_gives_nothing(
    hashcli: Run, tiny_model: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, 20)
    for token in ("", "root:s3cret"):
        monkeypatch.setenv(TOKEN_VARIABLE, token)
        with pytest.raises(TokenRefusedError, match="token"):
            publish(folder, PublishOptions(address))
        with pytest.raises(TokenRefusedError):
            opened(address).search(Query(output=np.ones(64)))
    log = tmp_path / "log.txt"
    arguments = ("search", "--index", address, "a cat", "--verbose", "--log", log)
    done = hashcli(*arguments, status=1, **{TOKEN_VARIABLE: "root:s3cret"})
    secret_address = address.replace("://", "://root:s3cret@")
    refused = hashcli("search", "--index", secret_address, "a cat", "--log", log, status=1)
    assert TOKEN_VARIABLE in refused.stderr
    for text in (done.stdout, done.stderr, refused.stderr, log.read_text()):
        assert "s3cret" not in text


def test_a_collection_whose_maker_was_killed_half_way_is_finished(
    tiny_model: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, 30)
    with monkeypatch.context() as patch:
        patch.setattr(milvus.Collection, "_index_codes", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            publish(folder, PublishOptions(address))
    publish(folder, PublishOptions(address))
    assert same_as(folder, address)


def test_a_collection_of_somebody_else_and_none_at_all(tiny_model: Path, tmp_path: Path, address: str) -> None:
    from pymilvus import CollectionSchema, DataType, FieldSchema

    with pytest.raises(NoCollectionError):
        opened(address).search(Query(output=np.ones(64)))
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("x", DataType.BINARY_VECTOR, dim=64)]
    with Collection(MilvusAddress.parse(address)) as collection:
        collection._server.create_collection(collection.address.collection, CollectionSchema(fields, "theirs"))
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, 20)
    with pytest.raises(ForeignCollectionError, match="not one of hashcli's"):
        publish(folder, PublishOptions(address))


def test_no_server(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashcli.index.milvus._READING", 1)
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, 20)
    with pytest.raises(NoServerError, match=r"No Milvus server answers at 127\.0\.0\.1:9"):
        publish(folder, PublishOptions("milvus://127.0.0.1:9/archive"))
    with pytest.raises(NotPublishedError):
        publish(folder)


def test_what_a_server_without_room_and_an_old_one_say(server: MilvusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymilvus.client.grpc_handler import GrpcHandler
    from pymilvus.exceptions import MilvusException

    address = MilvusAddress.parse(server.address("any"))
    for code, said in ((7, "quota exceeded[reason=disk quota exceeded]"), (5, "write: no space left on device")):
        assert "no room" in _explained(MilvusException(code, said), address).problem
    monkeypatch.setattr(GrpcHandler, "get_server_version", lambda *_, **__: "v2.2.9")
    with pytest.raises(MilvusError, match=r"is v2\.2\.9"):
        Collection(address)


def test_ids_of_a_machine_are_in_the_order_of_its_items() -> None:
    ids = [row_id(machine, number) for machine in ("attic", "cellar", "ü") for number in (0, 1, 2, 2**40 - 1)]
    assert len(set(ids)) == 12
    assert all(0 <= id_ < 2**63 for id_ in ids)
    assert ids[:4] == sorted(ids[:4])


class Interrupting(UpdateCallback):
    """Does something once the server has some batches."""

    def __init__(self, batches: int, interrupt: Callable[[], object]) -> None:
        self._left, self._interrupt = batches, interrupt

    def advanced(self, count: int) -> None:
        self._left -= 1
        if self._left == 0:
            self._interrupt()


def test_a_server_that_is_killed_half_way(
    tiny_model: Path, tmp_path: Path, address: str, server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_index_with_ties(tmp_path / "ix", tiny_model, 300)
    monkeypatch.setattr(publish_module, "_BATCH", 50)
    monkeypatch.setattr(milvus, "_WRITING", 600)  # a busy machine takes its time to start it again

    def start_again() -> None:
        server.stop()
        server.launch()

    publish(folder, PublishOptions(address), Interrupting(3, start_again))
    assert same_as(folder, address)
    monkeypatch.setattr(milvus, "_WRITING", 1)
    try:
        with pytest.raises(NoServerError, match=r"not answer any more\. Try again when it runs: publishing goes on"):
            publish(folder, PublishOptions(address, published_as="/elsewhere"), Interrupting(3, server.stop))
    finally:
        server.start()
