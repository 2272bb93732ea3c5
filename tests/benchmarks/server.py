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

from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.search import Index
from hashcli.serve.run import bound_socket
from tests.benchmarks.material import make_index, make_photos
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
        search = [*hashcli, "search", "--all", "dog on a beach", "-k", "60", "--index", index]
        by_server, alone, times = ratio(process(search), process([*search, "--no-server"]), 15)
        print(f"hashcli search by the server: {by_server * 1e3:.0f} ms; alone: {alone * 1e3:.0f} ms; {times:.2f} times")
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


def page(work: Path) -> None:
    """The first page in Chromium: from the address to 60 thumbnails that are drawn, when all of them have been made
    before; against the page that `search --html` writes of the same answers."""
    from selenium import webdriver

    from tests.show.test_contact_sheet_in_browser import CHROMEDRIVER, CHROMIUM, OPTIONS

    photos = make_photos(work / "photos", 60, 1600, 1200, quality=90)
    hashcli = [sys.executable, "-m", "hashcli"]
    index = ["--index", str(work / "index-page")]
    subprocess.run([*hashcli, "index", str(photos[0].parent), *index], check=True, capture_output=True)
    written = work / "results.html"
    search = ["search", "a photo", "--all", "-k", "60", "--html", str(written)]
    subprocess.run([*hashcli, *search, *index], check=True, capture_output=True)
    started = subprocess.Popen([*hashcli, "serve", "--port", "0", *index], stdout=subprocess.PIPE, text=True)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for option in OPTIONS:
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    try:
        assert started.stdout
        served = started.stdout.readline().strip() + "?text=a+photo&all=true"
        size = {"width": 1300, "height": 3500, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

        def drawn(address: str) -> float:
            browser.execute_cdp_cmd("Network.clearBrowserCache", {})
            browser.get(address)
            return float(browser.execute_async_script(_UNTIL_DRAWN))

        drawn(served), drawn(written.as_uri())
        pairs = [(drawn(served), drawn(written.as_uri())) for _ in range(7)]
        ours, rival = (statistics.median(pair[which] for pair in pairs) for which in (0, 1))
        print(f"60 thumbnails drawn: {ours:.0f} ms after the address; the page of --html: {rival:.0f} ms")
    finally:
        browser.quit()
        started.terminate()
        started.wait()


_UNTIL_DRAWN = """
const look = () => {
  const images = [...document.querySelectorAll(".open img")];
  const drawn = (image) => image.complete && image.naturalWidth;
  if (images.length >= 60 && images.every(drawn)) arguments[0](performance.now());
  else setTimeout(look, 10);
};
look();
"""
