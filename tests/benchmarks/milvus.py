"""A collection on a Milvus server on this machine, with the local index as its rival: `python -m tests.benchmarks
milvus`."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.locations import IndexLocation
from hashcli.index.milvus_address import MilvusAddress
from hashcli.index.query import Query
from hashcli.index.search import Index, index_at
from tests.benchmarks.material import make_index, make_outputs
from tests.benchmarks.timing import process, ratio, seconds
from tests.milvus_server import MilvusServer, why_none

_JOINING = 180  # seconds after which Milvus, which looks every minute, has made large segments of small ones
# What a process has used since it began; wait4 would also count the memory that its parent had.
_PUBLISH = """
import sys, time
from pathlib import Path
from hashcli.index.publish import publish
from hashcli.index.summary import PublishOptions

folder, *address = sys.argv[1:]
publish(Path(folder), PublishOptions(*address[:1], approximate=len(address) > 1))
status = Path("/proc/self/status").read_text()
print(f"{time.process_time():.1f} s of the client's CPU, {int(status.split('VmHWM:')[1].split()[0]) / 1024:.0f} MiB")
"""


def milvus(work: Path) -> None:
    """A million codes published, and searched, exactly and approximately. `HASHCLI_BENCHMARK_ROWS` is another number of
    them."""
    if reason := why_none():
        print(reason)
        return
    count = int(os.environ.get("HASHCLI_BENCHMARK_ROWS", 1_000_000))
    folder = make_index(work / "index-milvus", count)
    server = MilvusServer(work / "milvus", authorization=False)
    (work / "milvus").mkdir()
    try:
        server.start()
        exact, approximate = server.address("exact"), server.address("approximate")
        _publish(folder, exact, count, server)
        files = (path for path in (work / "milvus" / "data").rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        print(f"on the server's disk: {size / count:.0f} bytes a code, {server.memory() / count:.0f} in memory")
        command = [sys.executable, "-W", "ignore", "-c", _PUBLISH, folder]
        asked, unasked, _ = ratio(process([*command, exact]), process(command), 5)
        print(f"publishing again, nothing new: {unasked:.2f} s, start included; {asked:.2f} s if the server is asked")
        with Index(folder) as local, _opened(exact) as collection:
            for wait, when in ((0, "right after publishing"), (_JOINING, "when the server has joined its segments")):
                time.sleep(wait)
                for reranked in (1000, 0):
                    what = f"{count:,} codes, {reranked} ordered anew, {when}"
                    _compare(what, collection, local, reranked, server)
            print(f"on the server: {server.memory() / count:.0f} bytes of memory a code")
        _publish(folder, approximate, count, server, "approximate")
        with Index(folder) as local, _opened(approximate) as collection:
            _compare(f"{count:,} codes, approximate, 1000 ordered anew", collection, local, 1000, server)
            print(f"of the 10 best photos, the approximate collection finds {_recall(collection, local):.1%}")
    finally:
        server.stop()


def _publish(folder: Path, address: str, count: int, server: MilvusServer, *options: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _PUBLISH, folder, address, *options]
    began, used = time.perf_counter(), server.cpu()
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    took = time.perf_counter() - began
    print(
        f"{count:,} codes published{', approximate' * bool(options)}: {took:.1f} s, {count / took:,.0f} a second; "
        f"{done.stdout.strip()}; {server.cpu() - used:.0f} s of the server's CPU"
    )


def _opened(address: str) -> Index:
    return index_at(IndexLocation(Path(), collection=MilvusAddress.parse(address)))


def _answers(index: Index, queries: list[Query], reranked: int = 1000) -> list[Any]:
    return list(index.search_many(queries, reranked=reranked, limit=DistanceLimit(), words="off"))


def _compare(what: str, ours: Index, rival: Index, reranked: int, server: MilvusServer) -> None:
    queries = [Query(output=output) for output in make_outputs(1000, seed=0)]

    def answer(index: Index, queries: list[Query]) -> Callable[[], object]:
        return lambda: _answers(index, queries, reranked)

    mine, theirs, _ = ratio(answer(ours, queries[:1]), answer(rival, queries[:1]), 20)
    print(f"a query of {what}: {mine * 1e3:.0f} ms; local: {theirs * 1e3:.0f} ms")
    used, used_by_server = time.process_time(), server.cpu()
    took = seconds(answer(ours, queries))
    used, used_by_server = time.process_time() - used, server.cpu() - used_by_server
    local = seconds(answer(rival, queries))
    print(
        f"1,000 queries of {what}: {1000 / took:.0f} a second, {used:.1f} s of the client's CPU and "
        f"{used_by_server:.1f} s of the server's; local: {1000 / local:.0f}"
    )


def _recall(ours: Index, rival: Index) -> float:
    queries = [Query(output=output) for output in make_outputs(200, seed=0)]
    pairs = zip(_answers(ours, queries), _answers(rival, queries), strict=True)
    paths = [tuple({result.path for result in results} for results in pair) for pair in pairs]
    return float(np.mean([len(mine & theirs) / len(theirs) for mine, theirs in paths]))
