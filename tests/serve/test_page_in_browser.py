"""The page that searches, in a real browser, where one is installed."""

import asyncio
import base64
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import hashcli as library
from hashcli.index.search import IndexInfo
from hashcli.serve.app import ServerOptions
from hashcli.serve.security import Access
from hashcli.serve.served_index import ServedIndex
from tests.benchmarks.material import make_index
from tests.conftest import SKIMAGE
from tests.serve.conftest import make_served_album, serving
from tests.show import test_contact_sheet_in_browser as sheet
from tests.show.accessibility import findings, needs_axe
from tests.show.test_contact_sheet_in_browser import CONTRASTS, Browser, press, wait_for

pytestmark = sheet.pytestmark
HOSTILE = "<img src=x onerror=window.ran=1><script>window.ran=1<"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An album with photos of their full size, of which one and its caption have hostile texts, and one has gone."""
    folder = tmp_path_factory.mktemp("served") / "album"
    make_served_album(folder)
    for name in ("chelsea.png", "coffee.png"):
        shutil.copy(SKIMAGE / name, folder / name)
    Image.open(SKIMAGE / "coffee.png").rotate(90).save(folder / "gone.png")
    hostile = folder / f"{HOSTILE}.png".replace("/", "")
    Image.open(SKIMAGE / "coins.png").rotate(180).save(hostile)
    hostile.with_suffix(".txt").write_text(f"hostile {HOSTILE} coins \u202egnp.\n")
    os.utime(folder / "trip" / "moon.png", (0, 1_000_000_000))  # of another year than the others
    with library.open_index(folder / ".hashcli") as index:
        index.update()
    (folder / "gone.png").unlink()
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server."""
    options = ServerOptions({"album": folder / ".hashcli"}, thumbnails=tmp_path_factory.mktemp("thumbnails"))
    with serving(options) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def two_indexes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ServerOptions:
    """A second index beside the album: it holds one photo, coffee.png, and a text that is about no photo."""
    other = tmp_path_factory.mktemp("other")
    shutil.copy(SKIMAGE / "coffee.png", other)
    (other / "lines.txt").write_text("A cup of tea.\n")
    with library.open_index(other / ".hashcli", create=True) as index:
        index.update([other, other / "lines.txt"])
    return ServerOptions({"album": folder / ".hashcli", "other": other / ".hashcli"})


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    options = sheet.webdriver.ChromeOptions()
    options.binary_location = sheet.CHROMIUM
    for option in sheet.OPTIONS:
        options.add_argument(option)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    downloads = str(tmp_path_factory.mktemp("downloads"))
    options.add_experimental_option("prefs", {"download.default_directory": downloads})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = sheet.webdriver.Chrome(options=options, service=sheet.webdriver.ChromeService(sheet.CHROMEDRIVER))
    started.downloads = Path(downloads)
    yield started
    started.quit()


@pytest.fixture
def page(browser: Browser, server: str) -> "Page":
    return Page(browser, server)


# Messages go away after some seconds.
KEEP_WHAT_IS_SAID = """window.heard = "";
    for (const place of document.querySelectorAll(".said"))
        new MutationObserver(() => { heard += place.textContent; }).observe(place, { childList: true });"""


class Page:
    """The page, and what a person sees of it."""

    def __init__(self, browser: Browser, server: str) -> None:
        self.browser, self.server = browser, server

    def show(self, query: str = "", width: int = 1280, height: int = 800, scheme: str = "light") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.browser.get(self.server + query)
        self.browser.execute_script(KEEP_WHAT_IS_SAID)
        self.browser.get_log("browser")
        if query:
            self.wait_for_results()
        else:
            wait_for(lambda: "photos and" in self.text("#status"))

    def run(self, script: str, *arguments: object) -> Any:
        return self.browser.execute_script(f"return {script}", *arguments)

    def text(self, selector: str) -> str:
        return str(self.run("document.querySelector(arguments[0]).textContent", selector))

    def names(self) -> list[str]:
        names: list[str] = self.run("[...document.querySelectorAll('.name')].map((one) => one.textContent)")
        return names

    def wait_for_results(self) -> None:
        wait_for(lambda: bool(self.names()) and "result" in self.text("#status"))

    def wait_for_first(self, name: str) -> None:
        wait_for(lambda: self.names()[:1] == [name])

    def choose(self, selector: str, value: str) -> None:
        wait_for(lambda: value in self.run(f"[...document.querySelectorAll('{selector} option')].map((o) => o.value)"))
        script = "const one = document.querySelector(arguments[0]); one.value = arguments[1]; "
        script += "one.dispatchEvent(new Event('change', { bubbles: true }))"
        self.browser.execute_script(script, selector, value)

    def type(self, text: str) -> None:
        """What typing the words without a pause does."""
        script = "const words = document.querySelector('#words'); words.value = arguments[0]; "
        self.browser.execute_script(script + "words.dispatchEvent(new Event('input'))", text)

    def is_open(self) -> bool:
        return bool(self.run("document.querySelector('#view').open"))

    def give_photo(self, path: Path, event: str) -> None:
        """Drop or paste a file."""
        script = """
            const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "photo.png", { type: "image/png" }));
            const options = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
            const kind = arguments[1] === "paste" ? ClipboardEvent : DragEvent;
            document.body.dispatchEvent(new kind(arguments[1], options));"""
        self.browser.execute_script(script, base64.b64encode(path.read_bytes()).decode(), event)


def test_results_appear_while_typing_and_the_address_holds_the_query(page: Page) -> None:
    page.show()
    page.type("a cat")
    page.wait_for_first("chelsea.png")
    wait_for(lambda: page.browser.current_url.endswith("?text=a+cat"))
    page.browser.execute_async_script("setTimeout(arguments[0], 2100)")  # a pause, after which another search begins
    page.type("coffee")
    page.wait_for_first("coffee.png")
    page.browser.back()
    page.wait_for_first("chelsea.png")
    assert page.run("document.querySelector('#words').value") == "a cat"
    page.browser.forward()
    page.wait_for_first("coffee.png")
    page.browser.refresh()
    page.wait_for_first("coffee.png")


def test_no_error_and_no_request_to_anywhere_else(page: Page) -> None:
    page.browser.get_log("performance")
    page.show("?text=a+cat&all=1&for=both")
    press(page.browser, "ESCAPE", "TAB", "?", "ESCAPE")
    assert [entry for entry in page.browser.get_log("browser") if "404" not in entry["message"]] == []
    events = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    asked = [url for url in asked if not url.startswith(("data:", "chrome:"))]
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith(page.server)] == []


def test_words_removed_before_the_results_are_counted_ask_for_nothing_more(page: Page) -> None:
    page.show("?text=a+cat&for=both")
    for pause in (0, 60, 120, 180):  # a search begins 120 ms after a key, and its results are counted 300 ms after them
        page.browser.execute_async_script(f"setTimeout(arguments[0], {pause})")
        page.type("")
        wait_for(lambda: "photos and" in page.text("#status"))
        page.browser.execute_async_script("setTimeout(arguments[0], 500)")
        page.browser.back()
        page.wait_for_results()
    assert [entry for entry in page.browser.get_log("browser") if "404" not in entry["message"]] == []


def test_hostile_names_and_captions_are_text(page: Page, folder: Path) -> None:
    page.show("?text=hostile+coins&all=1&for=both")
    hostile = f"{HOSTILE}.png".replace("/", "")
    assert hostile in page.names()
    assert f"{HOSTILE} coins \\u202egnp." in page.text("#texts")
    page.browser.execute_script("document.querySelector('.open').click()")
    wait_for(page.is_open)
    assert page.run("window.ran ?? null") is None
    page.choose("#folder", str(folder))
    assert page.run("window.ran ?? null") is None
    press(page.browser, "ESCAPE")


def test_a_photo_is_dropped_pasted_and_combined_with_words(page: Page) -> None:
    page.show()
    for event in ("drop", "paste"):
        page.show()
        page.give_photo(SKIMAGE / "coffee.png", event)
        page.wait_for_first("coffee.png")
        assert page.run("document.querySelectorAll('#examples img').length") == 1
    page.type("a cat")
    page.wait_for_first("chelsea.png")
    page.browser.refresh()
    page.wait_for_first("chelsea.png")
    page.browser.find_element("css selector", "#examples button").click()
    wait_for(lambda: "image=" not in page.browser.current_url)


def test_the_link_with_the_token_opens_the_page_from_another_site_and_again(browser: Browser, folder: Path) -> None:
    with serving(ServerOptions({"album": folder / ".hashcli"}, Access(token="secret"))) as port:
        address = f"http://127.0.0.1:{port}/"
        page = Page(browser, address)
        for _ in range(2):
            browser.get(f"data:text/html,<a href='{address}?token=secret'>photos</a>")
            browser.find_element("css selector", "a").click()
            wait_for(lambda: browser.current_url == address)
            wait_for(lambda: "photos and" in page.text("#status"))
        page.show("?text=a+cat")
        page.wait_for_first("chelsea.png")


def test_words_may_be_typed_before_the_server_has_said_what_it_holds(
    browser: Browser, two_indexes: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_be_said = threading.Event()
    info = ServedIndex.info

    async def late_info(index: ServedIndex) -> IndexInfo:
        while not may_be_said.is_set():
            await asyncio.sleep(0.01)
        return await info(index)

    monkeypatch.setattr(ServedIndex, "info", late_info)
    with serving(two_indexes) as port:
        page = Page(browser, f"http://127.0.0.1:{port}/")
        browser.get(page.server)
        page.type("a cat")
        wait_for(lambda: "text=a+cat" in browser.current_url)
        may_be_said.set()
        page.wait_for_first("chelsea.png")
        assert "of 256 bits" in page.text("#status")
        assert page.run("document.querySelector('#index').hidden") is False


def test_words_typed_before_the_page_s_script_is_there_are_searched(page: Page, browser: Browser) -> None:
    script = """new MutationObserver((_, observer) => {
        const words = document.querySelector("#words");
        if (words) { words.value = "a cat"; observer.disconnect(); }
        }).observe(document, { childList: true, subtree: true })"""
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        browser.get(page.server)
        page.wait_for_first("chelsea.png")
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_another_index_is_chosen_and_left_again(browser: Browser, two_indexes: ServerOptions) -> None:
    with serving(two_indexes) as port:
        page = Page(browser, f"http://127.0.0.1:{port}/")
        page.show("?text=a+cat&all=1")
        page.choose("#index", "other")
        page.wait_for_first("coffee.png")
        browser.back()
        page.wait_for_first("chelsea.png")
        assert page.run("document.querySelector('#index').value") == "album"
        press(browser, "ARROW_DOWN", "d")
        wait_for(lambda: page.run("document.querySelector('#near').hidden") is False)
        page.choose("#index", "other")
        wait_for(lambda: "1 photos and 1 texts" in page.text("#status"))
        assert page.run("document.querySelector('#near').hidden") is True
        assert "max_distance" not in browser.current_url


def test_what_is_no_photo_is_said(page: Page, folder: Path) -> None:
    page.show()
    page.give_photo(folder / "chelsea.txt", "drop")
    wait_for(lambda: "cannot be read" in page.run("window.heard"))


def test_filters_tell_how_many_results_and_limit_them(page: Page, folder: Path) -> None:
    page.show("?text=a+rocket&all=1")
    wait_for(lambda: "(2)" in page.text("#folder"))
    page.choose("#folder", str(folder / "trip"))
    wait_for(lambda: sorted(page.names()) == ["moon.png", "rocket.jpg"])
    assert page.text("#status").startswith("2 results.")
    page.choose("#type", "png")
    wait_for(lambda: page.names() == ["moon.png"])
    page.choose("#type", "")
    page.choose("#folder", "")
    wait_for(lambda: "(" in page.text("#year"))
    years: list[str] = page.run("[...document.querySelectorAll('#year option')].map((one) => one.value)")
    assert len(years) > 2
    assert years == ["", *sorted(years[1:], reverse=True)]
    page.choose("#sort", "date")
    wait_for(lambda: "newest" in page.text("#status"))
    newest = str(page.run("document.querySelector('.facts:not(.folder)').textContent"))
    year = newest.partition("(")[2][:4]
    page.choose("#year", year)
    wait_for(lambda: f"after={year}&before={int(year) + 1}" in page.browser.current_url)
    page.wait_for_results()


def test_dates_of_the_address_are_shown_as_a_year_or_as_days(page: Page) -> None:
    def dates() -> list[str]:
        shown: list[str] = page.run("['#year', '#after', '#before'].map((one) => document.querySelector(one).value)")
        return shown

    page.browser.get(page.server + "?text=a+cat&after=2020&before=2024-07")
    wait_for(lambda: dates() == ["", "2020-01-01", "2024-07-01"])
    page.browser.get(page.server + "?text=a+cat&after=2020&before=2021")
    wait_for(lambda: dates() == ["2020", "", ""])


def test_only_a_photo_can_be_opened(browser: Browser, two_indexes: ServerOptions) -> None:
    with serving(two_indexes) as port:
        page = Page(browser, f"http://127.0.0.1:{port}/")
        opened = []
        for kind in ("texts", "photos"):
            page.show(f"?index=other&text=a+cup&for={kind}&all=1")
            browser.execute_script("window.open = (address) => { window.opened = address; }")
            press(browser, "ARROW_DOWN", "o")
            opened.append(page.run("window.opened ?? null"))
    assert [bool(address) for address in opened] == [False, True]


def test_keys_alone_do_everything(page: Page, browser: Browser) -> None:
    page.show()
    press(browser, *"a cat", "ARROW_DOWN")
    page.show("?text=a+cat&all=1")
    press(browser, "ARROW_DOWN")
    assert page.run("document.activeElement.classList.contains('open')")
    press(browser, "ARROW_RIGHT", "x", "ENTER")
    wait_for(page.is_open)
    second = page.text("#view-name")
    assert second == page.names()[1]
    press(browser, "ARROW_RIGHT", "x", "ARROW_LEFT")
    assert page.text("#view-name") == second
    assert page.run("document.querySelector('#select').getAttribute('aria-pressed')") == "true"
    press(browser, "ESCAPE")
    wait_for(lambda: page.text("#selected") == "2 selected")
    wait_for(lambda: page.run("[...document.querySelectorAll('.open')].indexOf(document.activeElement)") == 1)
    press(browser, "HOME", "m")
    wait_for(lambda: "image=" in browser.current_url)
    # It came first before, too: with it as the query, its distance is 0.
    wait_for(lambda: " 0 bits" in page.run("document.querySelector('[id^=facts-]')?.textContent ?? ''"))
    press(browser, "ESCAPE", "ARROW_DOWN", "t")
    wait_for(lambda: "for=texts" in browser.current_url and page.text("#texts") != "")
    browser.back()
    page.wait_for_first("chelsea.png")
    press(browser, "ARROW_DOWN", "d")
    wait_for(lambda: page.names() == ["chelsea.png"])
    assert page.run("document.querySelector('#near').hidden") is False
    press(browser, "ARROW_DOWN", "/")
    assert page.run("document.activeElement.id") == "words"


def test_a_selection_is_saved_as_zip_and_list(page: Page, browser: Browser, folder: Path) -> None:
    page.show("?text=a+cat&all=1")
    picks = browser.find_elements("css selector", ".pick")
    picks[0].click()
    picks[1].click()
    wait_for(lambda: page.text("#selected") == "2 selected")
    chosen = page.names()[:2]
    browser.find_element("css selector", "#zip").click()
    wait_for(lambda: zipfile.is_zipfile(browser.downloads / "photos.zip"))
    with zipfile.ZipFile(browser.downloads / "photos.zip") as archive:
        assert archive.namelist() == chosen
    browser.find_element("css selector", "#list").click()
    listed = browser.downloads / "photos.txt"
    wait_for(lambda: listed.exists() and len(listed.read_text().splitlines()) == 2)
    paths = listed.read_text().splitlines()
    assert [Path(path).name for path in paths] == chosen
    assert all(Path(path).exists() for path in paths)
    browser.find_element("css selector", "#clear").click()
    assert page.run("document.querySelectorAll('.pick:checked').length") == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_a_selection_that_cannot_be_saved_is_kept(page: Page, browser: Browser, width: int) -> None:
    page.show("?text=a+cup+of+coffee&all=1", width=width)
    browser.find_elements("css selector", ".pick")[page.names().index("gone.png")].click()
    browser.find_element("css selector", "#zip").click()
    wait_for(lambda: "None of these photos is there any more." in page.run("window.heard"))
    assert browser.current_url.endswith("?text=a+cup+of+coffee&all=1")
    assert page.text("#selected") == "1 selected"
    edge = "document.querySelector('{}').getBoundingClientRect().{}"
    said, selected = page.run(f"[{edge.format('body > .said', 'bottom')}, {edge.format('#selection', 'top')}]")
    assert said < selected  # so that the message can be seen


def test_a_photo_that_vanished_is_said_to_be_gone(page: Page) -> None:
    page.show("?text=a+cup+of+coffee&all=1")
    at = page.names().index("gone.png")
    card = f"document.querySelectorAll('.cards li')[{at}]"
    wait_for(lambda: "No longer there" in page.run(f"{card}.textContent"))
    page.browser.execute_script(f"{card}.querySelector('.open').click()")
    assert "No longer there" in page.text("#stage")
    press(page.browser, "ESCAPE")


def test_an_index_that_is_rebuilt_meanwhile(page: Page, folder: Path) -> None:
    page.show("?text=a+cat")
    shutil.copytree(folder / ".hashcli", folder / "kept")
    try:
        shutil.rmtree(folder / ".hashcli")
        page.browser.execute_script("document.querySelector('#words').focus()")
        press(page.browser, *"s")
        wait_for(lambda: "no index" in page.text("#status").lower())
    finally:
        os.rename(folder / "kept", folder / ".hashcli")
    press(page.browser, "BACKSPACE")
    page.wait_for_first("chelsea.png")


@pytest.mark.parametrize("width", [360, 768, 2560])
def test_no_width_scrolls_sideways(page: Page, width: int) -> None:
    page.show("?text=a+cat&all=1", width=width, height=740)
    assert page.run("document.documentElement.scrollWidth") <= width
    page.browser.execute_script("document.querySelector('.open').click()")
    wait_for(page.is_open)
    outside = """[...document.querySelectorAll('#view button, #view a, #view h2, #stage img')].filter((part) => {
        const box = part.getBoundingClientRect();
        return box.width && (box.left < 0 || box.right > arguments[0] || box.top < 0 || box.bottom > 740);
        }).map((part) => part.outerHTML.slice(0, 80))"""
    assert page.run(outside, width) == []
    press(page.browser, "ESCAPE")


def test_hundreds_of_results_appear_while_scrolling(browser: Browser, tmp_path: Path) -> None:
    """In several lists, of which the browser lays out those in sight; to the keys they are one."""
    make_index(tmp_path / "ix", 900)
    with serving(ServerOptions({"ix": tmp_path / "ix"})) as port:
        page = Page(browser, f"http://127.0.0.1:{port}/")
        page.show("?text=a+photo&all=1")

        for shown in range(60, 900, 60):
            browser.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
            wait_for(partial(page.run, f"document.querySelectorAll('.open').length > {shown}"))
        assert page.run("[...document.querySelectorAll('ol')].map((one) => one.childElementCount)") == [840, 60]
        ranks = page.run("[...document.querySelectorAll('.rank')].map((one) => Number(one.textContent))")
        assert ranks == list(range(1, 901))
        browser.execute_script("document.querySelectorAll('.open')[839].focus()")
        press(browser, "ARROW_RIGHT")
        assert sheet.focused(browser) == 840
        press(browser, "ARROW_UP", "ARROW_DOWN")
        assert sheet.focused(browser) == 840
        press(browser, "END")
        assert sheet.focused(browser) == 899
        assert page.run("document.querySelectorAll('.open[tabindex=\"0\"]').length") == 1


def test_a_swipe_shows_the_next(page: Page) -> None:
    page.show("?text=a+cat&all=1", width=390, height=800)
    page.browser.execute_script("document.querySelector('.open').click()")
    wait_for(page.is_open)
    for kind, x in (("touchStart", 300), ("touchMove", 150), ("touchMove", 100), ("touchEnd", None)):
        points = [] if x is None else [{"x": x, "y": 300}]
        page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    wait_for(lambda: page.text("#view-name") == page.names()[1])
    press(page.browser, "ESCAPE")


TEXTS = [
    *("h1", "#status", ".name", ".facts", ".folder", ".rank", "#theme", "#pick", "#words", "#without", "#sort"),
    *("#filters label", "#selected", "#zip", "#view-name", "#view-facts", "#view-path", "#like", "#help dd"),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_in_light_and_dark(page: Page, scheme: str) -> None:
    page.show("?text=a+cat&all=1", scheme=scheme)
    contrasts = page.browser.execute_script(CONTRASTS, TEXTS)
    assert len(contrasts) == len(TEXTS)
    assert {selector: contrast for selector, contrast in contrasts.items() if contrast < 4.5} == {}


def test_screen_readers_have_a_name_for_everything(page: Page, browser: Browser) -> None:
    page.show()
    page.choose("#for", "both")
    page.give_photo(SKIMAGE / "coffee.png", "drop")
    page.wait_for_first("coffee.png")
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    shown = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
    ]
    roles = {role for role, _ in shown}
    assert {"search", "searchbox", "button", "combobox", "heading", "status", "checkbox", "image"} <= roles
    named = roles & {"button", "link", "image", "heading", "region", "searchbox", "combobox", "checkbox", "Date"}
    assert [each for each in shown if each[0] in named and not each[1]] == []
    assert ("button", "coffee.png") in shown
    ids = page.run("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_checker_of_accessibility_finds_nothing(page: Page, browser: Browser, scheme: str, width: int) -> None:
    page.show(width=width, scheme=scheme)
    assert findings(browser) == []
    page.give_photo(SKIMAGE / "coffee.png", "drop")
    page.wait_for_first("coffee.png")
    wait_for(lambda: "(" in page.text("#folder"))
    page.browser.execute_script("document.querySelector('.pick').click()")
    assert findings(browser) == []
    page.show("?text=a+cat&all=1&for=both", width=width, scheme=scheme)
    wait_for(lambda: "(" in page.text("#folder"))
    assert findings(browser) == []
    page.browser.execute_script("document.querySelector('.open').click()")
    wait_for(page.is_open)
    assert findings(browser) == []
    press(browser, "ESCAPE")
    wait_for(lambda: page.run("document.activeElement.classList.contains('open')"))
    press(browser, "?")
    wait_for(lambda: bool(page.run("document.querySelector('#help').open")))
    assert findings(browser) == []
    press(browser, "ESCAPE")
    page.browser.execute_script("document.querySelector('#theme').textContent = ''")
    assert findings(browser) != []  # the checker has looked
