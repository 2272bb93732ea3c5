"""hashcli search while hashcli serve runs: the same answers, without loading what a search needs."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import hashcli as library
from tests.conftest import Run, make_tiny_model
from tests.index.files.test_metadata import gps
from tests.terminal import shown_in_terminal
from tests.test_walls import imported_by, run

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from hashcli.serve import terminal_client
from hashcli.serve.app import ServerOptions
from tests.serve.conftest import make_served_album, serving

BY_SERVER = "answered by hashcli serve"

QUERIES: list[tuple[object, ...]] = [
    ("a cup of coffee",),
    ("a", "cat", "--all"),
    ("--text", "2:a cat", "--text", "a woman", "--all"),
    ("a rocket launch", "--not", "0.5:night", "--all"),
    ("a cat", "-k", 1, "--all"),
    ("coffee", "--for", "texts"),
    ("coffee", "--for", "both", "-k", 4),
    ("stars", "--max-distance", 120),
    ("stars", "--within", 3),
    ("stars", "--max-distance", 0),
    ("stars", "--all", "--sort", "date"),
    ("stars", "--all", "--rerank", 0),
    ("stars", "--all", "--no-words"),
    ("the surface of the moon", "--words-only"),
    ("a giraffe", "--words-only"),
    ("moon", "--all", "--in", "album/trip"),
    ("moon", "--all", "--in", "album/../album/trip", "--in", "~/nowhere"),
    ("moon", "--all", "--type", "jpg"),
    ("moon", "--all", "--type", "xyz"),
    ("moon", "--all", "--after", "2001", "--before", "2100-05"),
    ("moon", "--all", "--after", "2100"),
    ("moon", "--all", "--near", "48.86,2.35,10km"),
    ("moon", "--all", "--near", "0,10,1m"),
    ("moon", "--all", "--all-copies"),
    ("moon", "--all", "-k", 100),
    ("moon zorgblatt", "--all"),
    ("zorgblatt qwyjibo",),
    ("zorgblatt qwyjibo", "--for", "texts"),
    ("   moon   landing ", "--all"),
    ("caf\u00e9 \u6708",),
    ("moon", "--quiet", "--all"),
    ("album/chelsea.png",),
    ("--image", "2:album/../album/chelsea.png", "--text", "a cat", "--not-image", "album/trip/moon.png"),
    ("--image", "album/pr\udce9.png", "--for", "texts"),
]
NOT_BY_SERVER: list[tuple[object, ...]] = [
    ("moon", "--all", "--not", "moon"),  # cancel each other
    ("--image", "-"),
    ("--image", "album/nowhere.png", "--text", "a cat"),
    ("moon", "--after", "someday"),
    ("moon", "--sort", "date", "--for", "texts"),
    ("moon", "-k", 20_000, "--all"),
    ("",),
]
STYLES: list[tuple[object, ...]] = [(), ("--json",), ("--paths",), ("-0",)]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with texts, places, copies and a name that is not UTF-8; one of them was deleted later. In `.hashcli` is
    their index."""
    folder = tmp_path_factory.mktemp("served") / "album"
    make_served_album(folder)
    photo = Image.open(folder / "camera.png")
    photo.save(folder / "paris.jpg", exif=gps((48, 51, 24), "N", (2, 21, 8), "E"))
    shutil.copy(folder / "trip" / "moon.png", folder / "second moon.png")
    shutil.copy(folder / "grass.png", folder / os.fsdecode(b"pr\xe9.png"))
    with library.open_index(folder / ".hashcli") as index:
        index.update([folder])
    (folder / "coins.png").unlink()
    return folder


@pytest.fixture
def own_album(album: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(album, tmp_path / "album", symlinks=True))


@pytest.fixture
def runtime(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the system lets the user's programs meet; its name is short, as those of sockets must be.
    Servers have all the time that they need, and processes import what is imported here, as both must be of one kind.
    """
    monkeypatch.setattr(terminal_client, "_SECONDS", 60.0)
    with tempfile.TemporaryDirectory(prefix="hc-", dir="/tmp") as folder:
        environment |= {"XDG_RUNTIME_DIR": folder, "PYTHONPATH": os.pathsep.join(sys.path)}
        yield Path(folder)


@pytest.fixture
def server(album: Path, runtime: Path) -> Iterator[None]:
    with serving(ServerOptions({"album": album / ".hashcli"}, sockets=runtime / "hashcli")):
        yield


@pytest.fixture
def searched(hashcli: Run, tmp_path: Path) -> Callable[..., tuple[bool, subprocess.CompletedProcess[str]]]:
    """Search; whether a server answered, and what was printed."""

    def search(*arguments: object, **more: Any) -> tuple[bool, subprocess.CompletedProcess[str]]:
        log = tmp_path / "search.log"
        log.unlink(missing_ok=True)
        done = hashcli("search", *arguments, "--log", log, status=None, **more)
        return BY_SERVER in log.read_text(), done

    return search


@pytest.mark.parametrize("query", [*QUERIES, *NOT_BY_SERVER], ids=lambda query: " ".join(map(str, query)))
def test_answers_are_the_same(query: tuple[object, ...], album: Path, server: None, searched: Any) -> None:
    index = "--index", album / ".hashcli"
    for style in STYLES:
        by_server, one = searched(*query, *style, *index, cwd=album.parent)
        by_itself, other = searched(*query, *style, *index, "--no-server", cwd=album.parent)
        assert (by_server, by_itself) == (query in QUERIES, False)
        assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)


def test_tables_and_pages_are_the_same(
    album: Path, server: None, environment: dict[str, str], searched: Any, tmp_path: Path
) -> None:
    query = "search", "moon", "--all", "--near", "48,2,1000km", "--index", album / ".hashcli"
    tables = [shown_in_terminal([*query, *more], tmp_path, environment) for more in ([], ["--no-server"])]
    assert tables[0] == tables[1]
    assert "paris.jpg" in tables[0]
    pages = []
    for more in ((), ("--no-server",)):
        page = tmp_path / "results.html"
        assert searched(*query[1:], "--html", page, *more)[0] != bool(more)
        pages.append(page.read_bytes())
    assert pages[0] == pages[1]


def test_nothing_heavy_is_imported(
    album: Path, server: None, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_RUNTIME_DIR", "PYTHONPATH"):
        monkeypatch.setenv(name, environment[name])
    patient = "from hashcli.serve import terminal_client; terminal_client._SECONDS = 60.0\n"
    modules = imported_by(patient + run("search", "a cup of coffee", "--index", album / ".hashcli"), tmp_path)
    heavy = {"numpy", "faiss", "onnxruntime", "tokenizers", "PIL", "asyncio", "http", "httpx", "starlette", "uvicorn"}
    assert not modules & heavy


def test_a_killed_server_leaves_a_socket_that_harms_nobody(
    album: Path, runtime: Path, environment: dict[str, str], searched: Any, tmp_path: Path
) -> None:
    index = "--index", album / ".hashcli"
    folder = runtime / "hashcli"

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hashcli", "serve", "--port", "0", *map(str, index)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
        assert process.stdout
        process.stdout.readline()
        return process

    killed = start()
    assert searched("moon", *index)[0]
    killed.kill()
    killed.communicate()
    assert len(list(folder.iterdir())) == 1
    by_server, done = searched("moon", *index)
    assert not by_server
    assert "moon.png" in done.stdout
    ended = start()
    try:
        assert searched("moon", *index)[0]
        state = next(folder.iterdir()).stat()
        assert state.st_mode & 0o077 == 0
        ended.send_signal(signal.SIGINT)
        ended.communicate(timeout=60)
    finally:
        ended.kill()
        ended.communicate()
    assert list(folder.iterdir()) == []


def test_the_server_that_started_last_answers(album: Path, runtime: Path, searched: Any) -> None:
    options = ServerOptions({"album": album / ".hashcli"}, sockets=runtime / "hashcli")
    with serving(options):
        with serving(options):
            assert searched("moon", "--index", album / ".hashcli")[0]
        assert not searched("moon", "--index", album / ".hashcli")[0]


def test_what_has_changed_meanwhile_is_seen(own_album: Path, runtime: Path, searched: Any) -> None:
    """A photo that was deleted, an index that was brought up to date, and one that was replaced."""
    folder = own_album / ".hashcli"
    query = "moon", "--all", "--json", "-k", 20, "--index", folder

    def check() -> str:
        by_server, one = searched(*query)
        assert by_server
        assert (one.stdout, one.stderr) == ((other := searched(*query, "--no-server")[1]).stdout, other.stderr)
        return str(one.stdout)

    with serving(ServerOptions({"album": folder}, sockets=runtime / "hashcli")):
        before = check()
        (own_album / "brick.png").unlink()
        deleted = check()
        assert deleted.count("missing") == before.count("missing") + 1
        with library.open_index(folder) as index:
            index.update()
        assert "brick.png" not in check()
        shutil.rmtree(folder)
        with library.open_index(folder, create=True) as index:
            index.update([own_album / "trip"])
        assert len(check().splitlines()) == 2
        shutil.rmtree(folder)
        assert not searched(*query)[0]


def test_another_hash_model_in_the_place_of_the_first_is_seen(
    tiny_model: Path, tmp_path: Path, runtime: Path, searched: Any
) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    make_served_album(tmp_path / "album")
    folder = tmp_path / "ix"
    with library.open_index(folder, create=True) as index:
        index.update([tmp_path / "album"], model=model)
    query = "a cat", "--all", "--index", folder
    with serving(ServerOptions({"ix": folder}, sockets=runtime / "hashcli")):
        assert searched(*query)[0]
        shutil.rmtree(model)
        make_tiny_model(model, seed=1)
        by_server, done = searched(*query)
        assert not by_server
        assert "was made with another version" in done.stderr


@pytest.fixture
def asked(
    album: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[socket.socket], object]], Any]:
    """Ask a stand-in for a server, which does something with the connection."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    folder = terminal_client.socket_folder()
    folder.mkdir(mode=0o700)

    def ask(does: Callable[[socket.socket], object]) -> Any:
        path = terminal_client.socket_path(folder, album / ".hashcli")
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()

            def serve() -> None:
                with suppress(OSError), listening.accept()[0] as connection:
                    does(connection)

            thread = threading.Thread(target=serve)
            thread.start()
            answer = terminal_client.ask(album / ".hashcli", {"k": 1}, library.Query("moon"))
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(20)
            return answer

    return ask


def test_a_server_that_dies_or_does_not_answer_is_done_without(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []
    assert asked(lambda connection: received.append(connection.recv(1 << 16))) is None
    assert json.loads(received[0])["from"] == terminal_client.surroundings()
    for answer in (b"{}", b"[", b'{"results": [', b"[]", b"1", b'{"results": [{"words": [], "new": 1}]}'):
        assert asked(lambda connection, answer=answer: (connection.recv(1 << 16), connection.sendall(answer))) is None
    monkeypatch.setattr(terminal_client, "_SECONDS", 0.05)
    waiting = threading.Event()
    assert asked(lambda connection: waiting.wait(0.5)) is None


def test_another_version_or_local_time_is_not_answered(
    album: Path, server: None, searched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "moon", "--index", album / ".hashcli"
    assert searched(*query)[0]
    own = terminal_client.surroundings()
    for other in (["0.0.1", *own[1:]], [*own[:-1], "XYZ"]):
        with monkeypatch.context() as patch:
            patch.setattr(terminal_client, "surroundings", lambda other=other: other)
            by_server, done = searched(*query)
            assert (by_server, done.returncode) == (False, 0)


def test_a_folder_that_others_can_write_to_is_not_used(
    album: Path, server: None, runtime: Path, searched: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (runtime / "hashcli").chmod(0o777)
    assert not searched("moon", "--index", album / ".hashcli")[0]
    (runtime / "hashcli").chmod(0o700)
    assert searched("moon", "--index", album / ".hashcli")[0]
    runtime.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert terminal_client.socket_folder() == tmp_path / "cache" / "hashcli" / "sockets"


def test_what_makes_no_sense_is_not_answered(album: Path, server: None, runtime: Path, searched: Any) -> None:
    path = terminal_client.socket_path(runtime / "hashcli", album / ".hashcli")
    own = terminal_client.surroundings()
    sensible: dict[str, Any] = {"from": own, "texts": [["moon", 1.0]], "images": [], "nots": [], "not_images": []}
    sensible |= {"where": {}, "limit": None, "k": 3}
    changes: list[dict[str, Any]] = [{"k": "3"}, {"x": 1}, {"where": []}, {"nots": 1}]
    for question in (
        b"\xff\n",
        b"[]\n",
        b"{}\n",
        b"",
        b"x" * (2 << 20),
        *(json.dumps(sensible | more).encode() + b"\n" for more in changes),
    ):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(path))
            with suppress(BrokenPipeError):
                connection.sendall(question)
                connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                assert connection.recv(1 << 16) in (b"{}", b""), question
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(json.dumps(sensible).encode() + b"\n")
        assert b'"results"' in connection.recv(1 << 16)
