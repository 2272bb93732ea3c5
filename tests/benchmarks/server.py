"""The server under load: `python -m tests.benchmarks server`."""

import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

from hashcli.index.ranking import DistanceLimit
from hashcli.index.search import Index
from hashcli.serve.run import bound_socket
from tests.benchmarks.material import make_index
from tests.benchmarks.timing import process, ratio, seconds

_CLIENTS, _EACH = 8, 50
_WORDS = ["a dog on a beach", "two people ride bicycles down a street", "a cup of coffee", "the sea at sunset"]


def server(work: Path) -> None:
    """One query after the other, against the same searches within Python and by a command for each; then eight clients
    at once; and the memory of the server. Each query is a new one, so that no answer is at hand."""
    index = make_index(work / "index-served", 100_000)
    with bound_socket("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    hashcli = [sys.executable, "-m", "hashcli"]
    started = subprocess.Popen(
        [*hashcli, "serve", "--index", str(index), "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert started.stdout
        started.stdout.readline()
        client = _Client(port)
        with Index(index) as opened:
            ours, rival, times = ratio(
                client.ask, lambda: opened.search(client.words(), 60, limit=DistanceLimit()), 100
            )
        print(f"query of 100,000 photos, 60 results, by the server: {ours * 1e3:.1f} ms; ", end="")
        print(f"Index.search: {rival * 1e3:.1f} ms; {times:.2f} times")
        cold = statistics.median(
            seconds(process([*hashcli, "search", "dog on a beach", "-k", "60", "--index", index])) for _ in range(5)
        )
        print(f"hashcli search: {cold * 1e3:.0f} ms, {cold / ours:.1f} times as long as the server takes")
        _load(port)
        status = Path(f"/proc/{started.pid}/status")
        if status.exists():
            most = re.search(r"VmHWM:\s+(\d+)", status.read_text())
            print(f"most memory of the server: {int(most[1]) >> 10 if most else '?'} MiB")
    finally:
        started.terminate()
        started.wait()


def _load(port: int) -> None:
    """Eight clients at once, each of which asks as soon as it has its answer."""
    waited: list[float] = []
    failed: list[Exception] = []

    def work(number: int) -> None:
        client = _Client(port, 1000 * (number + 1))
        try:
            for _ in range(_EACH):
                waited.append(seconds(client.ask))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(_CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    print(
        f"{_CLIENTS} clients at once: {len(waited) / took:.0f} queries a second, {len(failed)} errors, "
        f"{statistics.median(waited) * 1e3:.0f} ms at the median"
    )


class _Client:
    """Asks for 60 photos for words that it has not asked for before."""

    def __init__(self, port: int, number: int = 0) -> None:
        self._connection, self._number = http.client.HTTPConnection("127.0.0.1", port), number

    def words(self) -> str:
        self._number += 1
        return f"{_WORDS[self._number % len(_WORDS)]} {self._number}"

    def ask(self) -> None:
        self._connection.request("GET", f"/api/search?k=60&all=true&text={quote(self.words())}")
        answer = self._connection.getresponse()
        assert answer.status == 200
        assert len(json.loads(answer.read())["results"]) == 60
