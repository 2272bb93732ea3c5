"""hashcli serve through the real command: what its guide promises."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import PHOTOS, Run, json_rows

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start the real command; the process, and the link that it prints."""
    started = []

    def start(*arguments: object, **more: str) -> tuple[subprocess.Popen[str], str]:
        own = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-m", "hashcli", "serve", "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment | own | more,
        )
        started.append(process)
        assert process.stdout
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def get(link: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(link, headers=headers), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_page_and_the_rows_of_the_terminal(hashcli: Run, photos: Path, start: Start, tmp_path: Path) -> None:
    hashcli("index", photos)
    process, link = start()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", link)
    assert b"<!doctype html>" in get(link)[1]
    rows = json.loads(get(link + "api/search?text=a+cup+of+coffee&k=5")[1])["results"]
    ids = [row.pop("id") for row in rows]
    assert rows == json_rows(hashcli("search", "a cup of coffee", "-k", 5, "--json"))
    assert get(link + f"api/thumbnail/{ids[0]}")[0] == 200
    assert list((tmp_path / "cache").rglob("*.webp"))
    (info,) = json.loads(get(link + "api/info")[1])["indexes"]
    assert info == {"name": "default"} | json_rows(hashcli("info", "--json"))[0]
    assert info["photos"] == len(PHOTOS)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False)


def test_several_indexes_by_folder_and_name(hashcli: Run, photos: Path, start: Start) -> None:
    hashcli("index", photos / "trip", "--name", "trip")
    hashcli("index", photos / "coffee.png", "--index", photos / ".hashcli")
    _, link = start("--name", "trip", "--index", photos / ".hashcli")
    names = [one["name"] for one in json.loads(get(link + "api/info")[1])["indexes"]]
    assert sorted(names) == ["photos", "trip"]


def test_others_need_the_token_in_the_link_or_the_password(hashcli: Run, photos: Path, start: Start) -> None:
    hashcli("index", photos / "coffee.png")
    _, link = start("--listen", "0.0.0.0")
    port = re.search(r":(\d+)/\?token=[\w-]{20,}$", link)
    assert port
    here = f"http://127.0.0.1:{port[1]}/"
    assert get(here + "api/info")[0] == 401
    assert get(here + "api/info", Authorization=f"Bearer {link.partition('=')[2]}")[0] == 200
    process, link = start("--listen", "127.0.0.1", HASHCLI_PASSWORD="correct horse")
    assert "token" not in link
    assert get(link + "api/info")[0] == 401
    process.send_signal(signal.SIGINT)
    assert "Others can reach it" not in process.communicate(timeout=60)[1]


def test_messages_and_the_log_do_not_hold_the_password(hashcli: Run, photos: Path, tmp_path: Path) -> None:
    hashcli("index", photos / "coffee.png")
    twice = ("serve", "--name", "default", "--name", "default")  # refused, so that nothing is served
    for password in (["--password", "correct horse"], ["--password=correct horse"]):
        said = hashcli(*twice, *password, "--verbose", "--log", "log.txt", status=2).stderr
        assert "command: hashcli serve" in said
        assert "horse" not in said
    assert "horse" not in (tmp_path / "log.txt").read_text()


def test_what_stands_in_the_way_is_said(hashcli_process: Run, hashcli: Run, photos: Path, tmp_path: Path) -> None:
    assert "hashcli index" in hashcli("serve", status=1).stderr
    hashcli("index", photos / "coffee.png")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in hashcli_process("serve", "--port", port, status=1).stderr
    assert "8 characters" in hashcli("serve", "--password", "short", status=2).stderr
    assert "given twice" in hashcli("serve", "--name", "default", "--name", "default", status=2).stderr
    (tmp_path / "without" / "starlette").mkdir(parents=True)
    (tmp_path / "without" / "starlette" / "__init__.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path / "without"), *sys.path])
    assert "pip install '.[serve]'" in hashcli_process("serve", status=1, PYTHONPATH=path).stderr
