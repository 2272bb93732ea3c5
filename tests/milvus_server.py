"""A real Milvus server for tests, with its data in a folder of its own, on free ports of this machine."""

import ctypes
import importlib.util
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

TOKEN = "root:Milvus"  # of a new server that wants tokens
_MEMORY = 2 << 30  # bytes, with the collections of all tests
_STARTING = 600  # seconds for which a busy machine may start it; a free one takes ten

# The ports of the etcd within the server, which are the same for every server unless it is told others.
_ETCD = """
name: default
listen-client-urls: http://127.0.0.1:{0}
advertise-client-urls: http://127.0.0.1:{0}
listen-peer-urls: http://127.0.0.1:{1}
initial-advertise-peer-urls: http://127.0.0.1:{1}
initial-cluster: default=http://127.0.0.1:{1}
"""


def why_none() -> str | None:
    """Why no server can run here; None if one can. A server that is here and does not start is a fault."""
    needed = ("milvus", "pymilvus", "pkg_resources")  # without the last, pymilvus cannot be imported
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the server of Milvus is for Linux on x86_64"
    if not all(importlib.util.find_spec(name) for name in needed):
        return "needs a server of Milvus: pip install '.[dev]'"
    available = int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]) << 10
    return f"a server of Milvus needs {_MEMORY >> 30} GiB of memory" if available < _MEMORY else None


class MilvusServer:
    """A standalone server that wants a token, unless told otherwise."""

    def __init__(self, folder: Path, *, authorization: bool = True) -> None:
        from milvus import MilvusServerConfig

        names = [name for name in MilvusServerConfig().configurable_items if name.endswith("_port")]
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.port = ports["proxy_port"]
        self._folder, (self._metrics_port, *self._etcd_ports) = folder, _free_ports(3)
        self._config = MilvusServerConfig(data_dir=str(folder), **ports)
        self._config.set("authorization_enabled", authorization)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.launch()
        assert self._process
        deadline = time.monotonic() + _STARTING
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), urlopen(f"http://127.0.0.1:{self._metrics_port}/healthz", timeout=5) as answer:
                if b"OK" in answer.read():
                    return
            time.sleep(0.1)
        raise RuntimeError(f"Milvus did not start: {(self._folder / 'output.txt').read_text()[-2000:]}")

    def launch(self) -> None:
        """Start it, again if it was stopped, and do not wait. It is killed when this thread ends, however that does."""
        from milvus import _initialize_data_files

        if not (self._folder / "configs").exists():
            self._config.resolve()
            _initialize_data_files(str(self._folder))
            (self._folder / "etcd.yaml").write_text(_ETCD.format(*self._etcd_ports))
        program = self._folder / "bin" / "milvus"
        own = {"DEPLOY_MODE": "STANDALONE", "METRICS_PORT": str(self._metrics_port)}
        own |= {"ETCD_CONFIG_PATH": str(self._folder / "etcd.yaml")}
        own |= {"MILVUS_RUN_DIR": str(self._folder / "run"), "LD_LIBRARY_PATH": str(program.parent)}
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [program, "run", "standalone"],
                cwd=self._folder,
                env=os.environ | own,
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent,
            )

    def stop(self) -> None:
        """Kill it, as a power cut would: it can be started again."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def memory(self) -> int:
        """The bytes of memory that it has now."""
        assert self._process
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """The seconds of CPU that it has used."""
        assert self._process
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def address(self, collection: str) -> str:
        return f"milvus://127.0.0.1:{self.port}/{collection}"


def _die_with_parent() -> None:
    """Of a new process on Linux: tests that are killed must leave no server behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _free_ports(count: int) -> list[int]:
    """Of those that no system gives to connections of its own meanwhile."""
    sockets: list[socket.socket] = []
    while len(sockets) < count:
        with suppress(OSError):
            sockets.append(socket.create_server(("127.0.0.1", random.randrange(15_000, 32_000))))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
