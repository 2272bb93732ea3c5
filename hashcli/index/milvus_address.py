"""The address of a collection on a Milvus server, such as milvus://photos.example:19530/archive.

Read without Milvus's client, which takes a second to load.
"""

import re
from typing import NamedTuple

from hashcli.errors import HashcliError

TOKEN_VARIABLE = "HASHCLI_MILVUS_TOKEN"
_PORT = 19530
_SCHEMES = {"milvus": False, "milvus+tls": True}
_COLLECTION = re.compile(r"[A-Za-z_]\w{0,254}", re.ASCII)
_EXAMPLE = f"For example: milvus://127.0.0.1:{_PORT}/archive"


class MilvusAddress(NamedTuple):
    """A server, whether the connection is encrypted, and one of the server's collections."""

    host: str
    port: int
    collection: str
    tls: bool = False

    @property
    def server(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"milvus{'+tls' * self.tls}://{self.server}/{self.collection}"

    @classmethod
    def parse(cls, text: str) -> "MilvusAddress":
        """Raises HashcliError for what is no such address, and for one that holds a password."""
        from urllib.parse import urlsplit

        scheme, _, rest = text.partition("://")
        if "@" in rest:  # it would be seen in the list of processes, and kept by the shell; nor is it repeated here
            raise HashcliError(
                "An address of a collection must not hold a user or a password.",
                f"Set the environment variable {TOKEN_VARIABLE} to the token, or to user:password.",
            )
        try:
            parts = urlsplit(text)
            host, port, collection = parts.hostname, parts.port or _PORT, parts.path.strip("/")
        except ValueError:
            host, port, collection = None, 0, ""
        if scheme not in _SCHEMES or not host:
            raise HashcliError(f"{text} is not the address of a Milvus server.", _EXAMPLE)
        if not _COLLECTION.fullmatch(collection) or parts.query or parts.fragment:
            raise HashcliError(
                f"{text} names no collection: its name has letters, digits and _, and does not begin with a digit.",
                _EXAMPLE,
            )
        return cls(host, port, collection, _SCHEMES[scheme])


def is_milvus_address(text: object) -> bool:
    return isinstance(text, str) and text.partition("://")[0] in _SCHEMES and "://" in text


def without_passwords(text: str) -> str:
    """A text to be logged, without what an address in it may hold before an @."""
    return re.sub(r"(milvus(?:\+tls)?://)[^/\s]*@", r"\1...@", text)
