"""Downloads from a server on this machine: one that can resume, and some that misbehave."""

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.download import ATTEMPTS, MEBIBYTE, download
from hashcli.datasets.registry import DATASETS
from hashcli.datasets.source import Archive, DatasetSource
from hashcli.errors import HashcliError

pytest.importorskip("resumable")


class Server(ThreadingHTTPServer):
    """Serves `files`; each answer ends after as many bytes as the next of `breaks` says, if there is one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.ranges = True
        self.ranges_requested: list[str] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast(Server, self.server)
        server.ranges_requested.append(self.headers.get("Range", "all"))
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        given = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if given and server.ranges:
            start = int(given[1])
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: server.breaks.pop(0)] if server.breaks else content[start:])

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


class Progress:
    def __init__(self) -> None:
        self.plans: list[int] = []
        self.count = 0

    def planned(self, count: int) -> None:
        self.plans.append(count)
        self.count = 0

    def advanced(self, count: int) -> None:
        self.count += count


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of a zip of 3 MiB and of a .tgz."""
    archive, tar = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("photos/a.jpg", bytes(range(256)) * (3 * MEBIBYTE // 256))
        content.writestr("photos/b.jpg", b"b")
    with tarfile.open(fileobj=tar, mode="w:gz") as content:
        content.addfile(tarfile.TarInfo("photos/c.jpg"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(DATASETS, "some", DatasetSource("some", lambda _: ImageTextDataset("some", [], [], [])))
    with Server() as running:
        running.files = {"/a.zip": archive.getvalue(), "/c.tgz": tar.getvalue()}
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def offer(server: Server, path: str, into: str = "photos", md5: str | None = None) -> None:
    archive = Archive(f"{server.url}{path}", into, md5)
    DATASETS["some"] = replace(DATASETS["some"], archives=(archive,))


def md5_of(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_it_is_fetched_checked_and_unpacked_once(server: Server, tmp_path: Path) -> None:
    offer(server, "/a.zip", md5=md5_of(server.files["/a.zip"]))
    progress = Progress()
    download("some", tmp_path, progress)
    assert (tmp_path / "photos" / "a.jpg").stat().st_size == 3 * MEBIBYTE
    assert (tmp_path / "photos" / "b.jpg").read_bytes() == b"b"
    assert (progress.plans, progress.count) == ([3], 3)
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["a.zip.unpacked"]
    download("some", tmp_path, progress)
    assert server.ranges_requested == ["all"]


def test_a_tar_is_unpacked(server: Server, tmp_path: Path) -> None:
    offer(server, "/c.tgz", into="")
    download("some", tmp_path, Progress())
    assert (tmp_path / "photos" / "c.jpg").exists()


def test_an_archive_that_does_not_name_its_folder_goes_into_it(server: Server, tmp_path: Path) -> None:
    offer(server, "/a.zip", into="dataset")
    download("some", tmp_path, Progress())
    assert (tmp_path / "dataset" / "photos" / "b.jpg").exists()


def test_an_interrupted_download_is_resumed(server: Server, tmp_path: Path) -> None:
    offer(server, "/a.zip", md5=md5_of(server.files["/a.zip"]))
    server.breaks = [MEBIBYTE, 100_000]
    download("some", tmp_path, Progress())
    starts = [int(ranges_requested[6:-1]) for ranges_requested in server.ranges_requested[1:]]
    assert 0 < starts[0] <= MEBIBYTE
    assert starts[0] < starts[1] <= starts[0] + 100_000
    assert (tmp_path / "photos" / "b.jpg").exists()


def test_a_later_run_resumes_what_an_earlier_one_left(server: Server, tmp_path: Path) -> None:
    offer(server, "/a.zip", md5=md5_of(server.files["/a.zip"]))
    server.breaks = [2 * MEBIBYTE] + [0] * ATTEMPTS
    with pytest.raises(HashcliError, match="could not be fetched") as raised:
        download("some", tmp_path, Progress())
    assert "MiB have been downloaded: try again to resume" in raised.value.remedy
    assert not (tmp_path / "photos").exists()
    had = (tmp_path / "downloads" / "a.zip.part").stat().st_size
    assert MEBIBYTE < had <= 2 * MEBIBYTE
    server.ranges_requested.clear()
    progress = Progress()
    download("some", tmp_path, progress)
    assert server.ranges_requested == [f"bytes={had}-"]
    assert (progress.plans, progress.count) == ([3], 3)
    assert (tmp_path / "photos" / "b.jpg").exists()


def test_without_ranges_the_download_starts_again(server: Server, tmp_path: Path) -> None:
    offer(server, "/a.zip", md5=md5_of(server.files["/a.zip"]))
    server.ranges, server.breaks = False, [MEBIBYTE]
    download("some", tmp_path, Progress())
    assert (tmp_path / "photos" / "b.jpg").exists()


def test_a_whole_file_left_unchecked_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    offer(server, "/a.zip")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "a.zip.part").write_bytes(server.files["/a.zip"])
    download("some", tmp_path, Progress())
    assert server.ranges_requested == [f"bytes={len(server.files['/a.zip'])}-"]
    assert (tmp_path / "photos" / "b.jpg").exists()


def test_an_archive_with_a_wrong_checksum_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    offer(server, "/a.zip", md5="0" * 32)
    with pytest.raises(HashcliError, match=f"has the MD5 {md5_of(server.files['/a.zip'])}, not 000"):
        download("some", tmp_path, Progress())
    assert not list((tmp_path / "downloads").iterdir())
    assert not (tmp_path / "photos").exists()


def test_a_damaged_archive_without_a_checksum_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    content = bytearray(server.files["/a.zip"])
    content[1000] ^= 1
    server.files["/bent.zip"] = bytes(content)
    server.files["/cut.zip"] = server.files["/a.zip"][:-100]
    server.files["/cut.tgz"] = server.files["/c.tgz"][:-20]
    for path in ("/cut.zip", "/bent.zip", "/cut.tgz"):
        offer(server, path)
        with pytest.raises(HashcliError, match="is damaged"):
            download("some", tmp_path, Progress())
        assert not list((tmp_path / "downloads").iterdir())


def test_an_address_that_is_not_there_is_requested_once(server: Server, tmp_path: Path) -> None:
    offer(server, "/nosuch.zip")
    with pytest.raises(HashcliError, match=r"nosuch\.zip could not be fetched.*404"):
        download("some", tmp_path, Progress())
    assert len(server.ranges_requested) == 1


def test_no_server_at_all(server: Server, tmp_path: Path) -> None:
    DATASETS["some"] = replace(DATASETS["some"], archives=(Archive("http://127.0.0.1:9/a.zip"),))
    with pytest.raises(HashcliError, match="could not be fetched"):
        download("some", tmp_path, Progress())


def test_names_that_lead_out_of_the_folder_stay_in_it(server: Server, tmp_path: Path) -> None:
    """A zip's names are corrected, and a tar with such names is refused."""
    archive, tar = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("../../out.jpg", b"")
    with tarfile.open(fileobj=tar, mode="w:gz") as content:
        content.addfile(tarfile.TarInfo("../../out.jpg"), io.BytesIO(b""))
    server.files |= {"/out.zip": archive.getvalue(), "/out.tgz": tar.getvalue()}
    root = tmp_path / "one" / "two" / "three"
    offer(server, "/out.zip")
    download("some", root, Progress())
    offer(server, "/out.tgz")
    with pytest.raises(HashcliError, match="is damaged"):
        download("some", root, Progress())
    assert [path.relative_to(root).as_posix() for path in tmp_path.rglob("out.jpg")] == ["photos/out.jpg"]


def test_what_is_not_offered_says_so(tmp_path: Path) -> None:
    with pytest.raises(HashcliError, match="nuswide10 has no free download") as raised:
        download("nuswide10", tmp_path, Progress())
    assert "mirflickr" in raised.value.remedy
