"""Who may ask the server, and what every answer says to browsers.

A page of another site must get nothing out of it, even if its name leads to this machine (DNS rebinding). So the Host
must be one of the server's own, a request that a browser says comes from elsewhere is refused, and a server that others
can reach asks for a password or a token.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import re
import socket
from dataclasses import dataclass
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SEND_SECONDS = 30  # a client that takes no part of an answer for so long is dropped
RECEIVE_SECONDS = 30  # and one that sends no part of its upload
_WRONG_SECONDS = 0.5  # between two wrong passwords

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Access:
    """By which names the server may be reached, and what a client must know.

    Without `password` and `token`, only programs on this machine may ask, by the names of the loopback interface.
    """

    password: str | None = None
    token: str | None = None

    @property
    def is_local(self) -> bool:
        return self.password is None and self.token is None

    def allows_host(self, host: str) -> bool:
        """Whether a Host header names this server: as the loopback interface or, where a client has to know a secret,
        by any address or by the name of the machine. Names that others choose are refused."""
        name = _host_name(host)
        if name in ("localhost", "127.0.0.1", "::1"):
            return True
        return not self.is_local and (_is_address(name) or name in self._own_names)

    @cached_property
    def _own_names(self) -> set[str]:
        own = socket.gethostname().lower()
        return {own, own.partition(".")[0], f"{own.partition('.')[0]}.local"}

    def knows_secret(self, headers: Headers) -> bool:
        if self.is_local:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if self.token is not None:
            bearer = given if scheme.lower() == "bearer" else ""
            return _same(bearer, self.token) or _same(_cookie(headers), self.token)
        return scheme.lower() == "basic" and _same(_basic_password(given), self.password or "")


class Guard:
    """Middleware around the whole server."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        self._wrong = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_in_time(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        async def receive_in_time() -> Message:
            async with asyncio.timeout(None if began else RECEIVE_SECONDS):
                return await receive()

        began = False  # once an answer has begun, only the end of the connection is waited for

        async def send_and_note(message: Message) -> None:
            nonlocal began
            began = True
            await send_in_time(message)

        try:
            answer = await self._refusal(scope) or self._app
            await answer(scope, receive_in_time, send_and_note)
        except TimeoutError:
            if not began:
                await JSONResponse({"error": "The request took too long."}, 408)(scope, receive, send_in_time)
            else:
                raise

    async def _refusal(self, scope: Scope) -> Response | None:
        """What is answered instead, if the request is refused or brings the token; None if it may go on."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.allows_host(hosts[0]):
            return _refused("This server is not known by that name.", 421)
        if not _is_from_here(headers, hosts[0], scope):
            return _refused("Pages of other sites may not ask this server.", 403)
        knows_secret = self._access.knows_secret(headers)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        brings_token = self._access.token is not None and _same(given, self._access.token)
        if scope["path"] == "/" and given and (brings_token or knows_secret):
            response = RedirectResponse("/", 303)  # so that the token is not kept in the address
            if brings_token:
                # "strict" would keep it back when a page of another site, such as one with mails, holds the link.
                response.set_cookie(_cookie_name(headers), given, httponly=True, samesite="lax")
            return response
        if knows_secret:
            return None
        if given or "authorization" in headers:
            async with self._wrong:
                await asyncio.sleep(_WRONG_SECONDS)
        if self._access.token is not None:
            return _refused("Open the link that hashcli printed: it holds the token.", 401)
        refused = _refused("The password is missing or wrong.", 401)
        refused.headers["WWW-Authenticate"] = 'Basic realm="hashcli", charset="UTF-8"'
        return refused


def _is_from_here(headers: Headers, host: str, scope: Scope) -> bool:
    """Whether no browser says that the request comes from a page of another site. Following a link to the page itself
    is no such request."""
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"{scope['scheme']}://{host.lower()}":
        return False
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return True
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return is_link and scope["method"] == "GET" and scope["path"] == "/"


def _refused(why: str, status: int) -> JSONResponse:
    return JSONResponse({"error": why}, status)


def _host_name(host: str) -> str:
    """A Host header without its port, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), secret.encode(errors="surrogateescape"))


def _cookie_name(headers: Headers) -> str:
    """Browsers send the cookies of a host to all its ports: with the port in its name, each server has its own."""
    port = re.search(r":(\d+)$", headers.get("host", ""), re.ASCII)
    return f"hashcli-{port[1] if port else 80}"


def _cookie(headers: Headers) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(_cookie_name(headers))
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _basic_password(given: str) -> str:
    """The password of HTTP Basic authentication (RFC 7617), whatever the user's name."""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
