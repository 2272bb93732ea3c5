"""A real Milvus server for tests, with its data in a folder of its own, on free ports of this machine."""

import importlib.util
import os
import signal
import socket
from pathlib import Path
from typing import Any

TOKEN = "root:Milvus"  # of a new server that wants tokens


def is_installed() -> bool:
    """Whether a server and a client that works are there."""
    needed = ("milvus", "pymilvus", "pkg_resources")  # without the last, pymilvus cannot be imported
    return all(importlib.util.find_spec(name) for name in needed)


class MilvusServer:
    """A standalone server that wants a token, unless told otherwise."""

    def __init__(self, folder: Path, *, authorization: bool = True) -> None:
        from milvus import MilvusServerConfig

        self._folder, self._authorization = folder, authorization
        names = [name for name in MilvusServerConfig().configurable_items if name.endswith("_port")]
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._server: Any = None
        self.port = self._ports["proxy_port"]

    def start(self) -> None:
        from milvus import MilvusServer as Standalone
        from milvus import MilvusServerConfig

        config = MilvusServerConfig(data_dir=str(self._folder), **self._ports)
        config.set("authorization_enabled", self._authorization)
        self._server = Standalone(config)
        (self._server.webservice_port,) = _free_ports(1)
        self._server.start()

    def kill(self) -> None:
        """At once, as a power cut would."""
        os.kill(self._server.server_proc.pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        if self._server:
            self._server.stop()

    def address(self, collection: str) -> str:
        return f"milvus://127.0.0.1:{self.port}/{collection}"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
