"""Who gets an answer, and who does not."""

import base64
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hashcli.serve import run, security
from hashcli.serve.app import ServerOptions, create_app
from hashcli.serve.security import Access
from tests.serve.conftest import HERE, serving


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "LOCALHOST"])
def test_the_names_of_the_loopback_interface_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8765", "192.168.1.5:8765", "", "localhost.:1"]
)
def test_no_other_name_is_answered(client: TestClient, host: str) -> None:
    for path in ("/", "/api/info", "/api/search?text=a"):
        assert client.get(path, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8765"},  # another name is another site to a browser
        {"Origin": "https://127.0.0.1:8765"},
        {"Origin": "http://127.0.0.1:1234"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_pages_of_other_sites_get_nothing(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("/", "/api/info", "/api/photo/0-1-000000000000"):
        assert client.get(path, headers=headers).status_code == 403
    assert client.post("/api/upload", headers=headers, content=b"x").status_code == 403
    assert client.post("/api/zip", headers=headers, content=b"x").status_code == 403


def test_the_page_itself_may_be_linked_to_and_may_ask(client: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/api/info", headers=link).status_code == 403
    assert client.get("/api/info", headers={"Origin": HERE, "Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_every_answer_binds_the_browser(client: TestClient) -> None:
    for path in ("/", "/api/info", "/api/photo/x", "/nowhere", "/page.js"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
    assert client.get("/api/info").headers["cache-control"] == "no-store"


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


def test_a_password_is_asked_for(shared_album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "_WRONG_SECONDS", 0)
    options = ServerOptions({"album": shared_album}, Access(password="correct hörse"))
    with TestClient(create_app(options), base_url="http://192.168.1.5:8765") as client:
        assert client.get("/").headers["www-authenticate"].startswith("Basic")
        for wrong in ({}, basic("wrong"), basic(""), {"Authorization": "Basic !"}, {"Authorization": "Bearer x"}):
            assert client.get("/api/info", headers=wrong).status_code == 401
        assert client.get("/api/info", headers=basic("correct hörse")).status_code == 200
        named = basic("correct hörse") | {"Host": "evil.example"}
        assert client.get("/api/info", headers=named).status_code == 421


def test_the_link_with_the_token_opens_the_page_and_forgets_the_token(
    shared_album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "_WRONG_SECONDS", 0)
    options = ServerOptions({"album": shared_album}, Access(token="secret"))
    with TestClient(create_app(options), base_url="http://192.168.1.5:8765", follow_redirects=False) as client:
        assert client.get("/").status_code == 401
        assert client.get("/?token=wrong").status_code == 401
        assert client.get("/api/info?token=secret").status_code == 401
        assert client.get("/api/info", headers={"Authorization": "Bearer secret"}).status_code == 200
        answer = client.get("/?token=secret")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "httponly" in answer.headers["set-cookie"].lower()
        assert client.get("/api/info").status_code == 200  # by the cookie
        for again in ("/?token=secret", "/?token=of-an-earlier-server"):
            answer = client.get(again)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert client.get("/api/info").status_code == 200


def test_two_servers_on_one_host_have_cookies_of_their_own(shared_album: Path) -> None:
    """Browsers do not tell ports apart when they send cookies."""
    cookies: dict[str, str] = {}
    for port in (8765, 8766):
        options = ServerOptions({"album": shared_album}, Access(token=f"secret of {port}"))
        with TestClient(create_app(options), base_url=f"http://192.168.1.5:{port}", cookies=cookies) as client:
            assert client.get(f"/?token=secret of {port}").status_code == 200
            cookies = dict(client.cookies)
    assert len(cookies) == 2
    options = ServerOptions({"album": shared_album}, Access(token="secret of 8765"))
    with TestClient(create_app(options), base_url="http://192.168.1.5:8765", cookies=cookies) as client:
        assert client.get("/api/info").status_code == 200


# --- slow clients, of a real server ---


@pytest.fixture
def port(shared_album: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that waits only for a moment."""
    monkeypatch.setattr(run, "_HEADER_SECONDS", 2)  # enough for a whole request on a machine that is busy
    monkeypatch.setattr(security, "RECEIVE_SECONDS", 2)
    with serving(ServerOptions({"album": shared_album})) as port:
        yield port


def received(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    connection.settimeout(60)
    content = b""
    with contextlib.suppress(ConnectionResetError):
        while block := connection.recv(1 << 16):
            content += block
    return content


def test_a_client_that_does_not_end_its_request_is_dropped(port: int) -> None:
    for begun in (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(begun)
            assert received(connection) == b""


def test_a_second_request_that_does_not_end_is_dropped_too(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        whole = b"GET /page.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        connection.sendall(whole)
        connection.settimeout(60)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(whole[:20])
        received(connection)


def test_a_slow_drip_is_not_waited_for(port: int) -> None:
    def drip(connection: socket.socket) -> None:
        for _ in range(600):
            connection.sendall(b"G")
            time.sleep(0.1)

    dropped = pytest.raises((BrokenPipeError, ConnectionResetError))
    with socket.create_connection(("127.0.0.1", port)) as connection, dropped:
        drip(connection)


def test_an_upload_that_stops_is_answered_with_408(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = b"POST /api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nabc"
        connection.sendall(head)
        connection.settimeout(60)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
