"""What the tests of the server share: an index of small photos with texts, and a client of its server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import hashcli
from tests.conftest import PHOTOS
from tests.index.indexing import make_album

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from starlette.testclient import TestClient

from hashcli.serve.app import ServerOptions, create_app
from hashcli.serve.run import Server, bound_socket

HERE = "http://127.0.0.1:8765"


def make_served_album(folder: Path) -> Path:
    """Small photos, each with a text, and an index of them in `.hashcli` among them; the folder of the index."""
    make_album(folder)
    for photo in [*folder.glob("*.*"), *folder.glob("trip/*.*")]:
        photo.with_suffix(".txt").write_text(PHOTOS[photo.name] + "\n")
    with hashcli.open_index(folder / ".hashcli", create=True) as index:
        index.update([folder])
    return folder / ".hashcli"


@contextmanager
def serving(options: ServerOptions) -> Iterator[int]:
    """A real server in a thread; its port."""
    listening = bound_socket("127.0.0.1", 0)
    started = threading.Event()
    server = Server(options, started.set)
    thread = threading.Thread(target=server.run, args=([listening],))  # where it catches no signals
    thread.start()
    try:
        assert started.wait(60)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """The folder of an index that the test may change."""
    return make_served_album(tmp_path / "album")


@pytest.fixture(scope="module")
def shared_album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for tests that only read."""
    return make_served_album(tmp_path_factory.mktemp("shared") / "album")


@pytest.fixture
def client(shared_album: Path, tmp_path: Path) -> Iterator[TestClient]:
    options = ServerOptions({"album": shared_album}, thumbnails=tmp_path / "thumbnails")
    with TestClient(create_app(options), base_url=HERE) as client:
        yield client


@pytest.fixture
def changing(album: Path) -> Iterator[TestClient]:
    """A client of a server whose index the test may change."""
    with TestClient(create_app(ServerOptions({"album": album})), base_url=HERE) as client:
        yield client
