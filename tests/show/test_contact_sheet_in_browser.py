"""The contact sheet in a real browser, where one is installed."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hashcli.index.results import SearchResult
from hashcli.show.contact_sheet import QueryResults, write
from tests.conftest import PHOTOS, SKIMAGE
from tests.show.accessibility import findings, needs_axe

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="chromium or chromedriver is not installed")

OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

NAMES = list(PHOTOS)
CAPTIONS = ["A cat looks up.", "A dog.", "A long text. " * 40]
Browser = Any  # selenium has no types where it is not installed


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in OPTIONS:
        options.add_argument(option)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    permissions = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    started.execute_cdp_cmd("Browser.grantPermissions", permissions)
    yield started
    started.quit()


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sheet of three queries: twelve photos, one of them missing and one with a hostile name; captions; nothing."""
    folder = tmp_path_factory.mktemp("sheet")
    hostile = folder / '"><img src=x onerror=window.ran=1><script>window.ran=1<'
    os.symlink(SKIMAGE / "chelsea.png", hostile)
    paths = [*(str(SKIMAGE / name) for name in NAMES[:10]), str(folder / "gone.jpg"), str(hostile)]
    photos = [SearchResult(n, "image", path, 60 + n, 256, taken=1_400_000_000) for n, path in enumerate(paths, 1)]
    texts = [
        SearchResult(n, "text", paths[n], 70 + n, 256, text=words, photo=paths[n])
        for n, words in enumerate(CAPTIONS, 1)
    ]
    texts.append(SearchResult(4, "text", "/data/captions.txt", 80, 256, text="Alone.", line=3))
    searches = [
        QueryResults("a cat", photos),
        QueryResults("cat.jpg", texts, photos=[paths[1]]),
        QueryResults("<b>nothing</b>", []),
    ]
    write(folder / "sheet.html", "3 searches", searches)
    return folder / "sheet.html"


Show = Callable[..., None]


@pytest.fixture
def show(browser: Browser, sheet: Path) -> Show:
    def show(width: int = 1280, height: int = 800, scheme: str = "light", page: Path = sheet) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(page.as_uri())

    return show


def press(browser: Browser, *keys: str) -> None:
    from selenium.webdriver.common.keys import Keys

    for key in keys:
        webdriver.ActionChains(browser).send_keys(getattr(Keys, key, key)).perform()


def focused(browser: Browser) -> int:
    """The place among all cards of the one with the focus; -1 if it is elsewhere."""
    script = "return [...document.querySelectorAll('.open')].indexOf(document.activeElement)"
    return int(browser.execute_script(script))


def is_open(browser: Browser) -> bool:
    return bool(browser.execute_script("return document.querySelector('#view').open"))


def content(browser: Browser, selector: str) -> str:
    return str(browser.execute_script("return document.querySelector(arguments[0]).textContent", selector))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_error_no_request_and_no_name_that_runs(browser: Browser, show: Show) -> None:
    show()
    press(browser, "ARROW_DOWN", "ENTER", "ARROW_RIGHT", "ESCAPE", "?", "ESCAPE")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.ran ?? null") is None
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    asked = [url for url in asked if not url.startswith("chrome:")]  # the browser's own first page, if it is slow
    assert asked
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert len([url for url in asked if url.startswith("file")]) == 1


def test_the_policy_stops_scripts_and_requests_that_are_not_the_page_s_own(browser: Browser, show: Show) -> None:
    show()
    stopped = browser.execute_async_script("""
        const [violated, done] = [new Set(), arguments[0]];
        document.addEventListener("securitypolicyviolation", (event) => {
          violated.add(event.effectiveDirective);
          if (violated.size === 3) done([...violated].sort());
        });
        const script = document.createElement("script");
        script.textContent = "window.ran = 1";
        const image = new Image();
        image.src = "file:///other.png";
        document.body.append(script, image);
        fetch("data:,").catch(() => {});
    """)
    assert stopped == ["connect-src", "img-src", "script-src-elem"]
    assert browser.execute_script("return window.ran ?? null") is None


def test_keys_move_a_visible_focus(browser: Browser, show: Show) -> None:
    show()
    columns = len(
        browser.execute_script("return getComputedStyle(document.querySelector('.cards')).gridTemplateColumns").split()
    )
    assert columns >= 4
    places = []
    keys = ("ARROW_RIGHT", "ARROW_RIGHT", "l", "h", "ARROW_DOWN", "k", "j", "ARROW_UP", "ARROW_LEFT", "ARROW_LEFT")
    for key in keys:
        press(browser, key)
        places.append(focused(browser))
    assert places == [0, 1, 2, 1, 1 + columns, 1, 1 + columns, 1, 0, 0]
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) == "solid"
    press(browser, "END")
    assert focused(browser) == 15
    in_view = "const box = document.activeElement.getBoundingClientRect(); return box.top >= 0 && box.top < innerHeight"
    wait_for(lambda: bool(browser.execute_script(in_view)))
    press(browser, "HOME", "/")
    assert focused(browser) == 12
    press(browser, "/")
    assert focused(browser) == 0


def test_tab_stops_at_one_card_and_at_links_and_buttons(browser: Browser, show: Show) -> None:
    show()
    press(browser, "ARROW_RIGHT", "ARROW_RIGHT")
    assert browser.execute_script("return document.querySelectorAll('.open[tabindex=\"0\"]').length") == 1
    browser.execute_script("document.activeElement.blur(); document.querySelector('#keys').focus()")
    stops = set()
    for _ in range(6):
        press(browser, "TAB")
        stops.add(focused(browser))
    assert stops == {-1, 1}


def test_the_large_view_opens_moves_and_gives_the_focus_back(browser: Browser, show: Show) -> None:
    show()
    press(browser, "ARROW_RIGHT", "ENTER")
    assert is_open(browser)
    assert content(browser, "#view-name") == NAMES[0]
    assert content(browser, "#view-query") == "a cat"
    assert content(browser, "#view-facts") == "Result 1 of 12 · 61 of 256 bits differ · taken 2014-05-13"
    assert content(browser, "#view-path") == str(SKIMAGE / NAMES[0])
    width = "return document.querySelector(arguments[0]).getBoundingClientRect().width"
    wait_for(lambda: browser.execute_script(width, "#stage img") > 2 * browser.execute_script(width, ".open img"))
    assert browser.execute_script("return document.querySelector('#view').contains(document.activeElement)")
    press(browser, "ARROW_RIGHT", "j")
    assert content(browser, "#view-name") == NAMES[2]
    press(browser, "ESCAPE")
    assert not is_open(browser)
    wait_for(lambda: focused(browser) == 2)  # given back by an event, a moment later
    browser.find_element("css selector", "#q2 .open").click()
    assert is_open(browser)
    assert CAPTIONS[0] in content(browser, "#stage")
    browser.find_element("css selector", "#close").click()
    wait_for(lambda: focused(browser) == 12)


def test_the_path_is_copied_and_the_file_opened(browser: Browser, show: Show) -> None:
    show()
    press(browser, "ARROW_RIGHT", "c")
    wait_for(lambda: content(browser, "body > .said") == "Path copied")
    path = SKIMAGE / NAMES[0]
    assert browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == str(path)
    here = browser.current_window_handle
    press(browser, "o")
    wait_for(lambda: len(browser.window_handles) == 2)
    (there,) = (handle for handle in browser.window_handles if handle != here)
    browser.switch_to.window(there)
    wait_for(lambda: browser.current_url == path.as_uri())
    browser.close()
    browser.switch_to.window(here)


def test_help_lists_the_keys_and_closes(browser: Browser, show: Show) -> None:
    show()
    press(browser, "?")
    assert browser.execute_script("return document.querySelector('#help').open")
    assert "next query" in content(browser, "#help")
    press(browser, "ESCAPE")
    assert not browser.execute_script("return document.querySelector('#help').open")


@pytest.mark.parametrize("width", [360, 768, 2560])
def test_no_width_scrolls_sideways(browser: Browser, show: Show, width: int) -> None:
    show(width=width, height=740)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    press(browser, "ARROW_RIGHT", "ENTER")
    wide = "const view = document.querySelector('#view'); return view.scrollWidth - view.clientWidth"
    assert browser.execute_script(wide) <= 0
    outside = """
        return [...document.querySelectorAll('#view button, #view a, #view p, #view h2, #stage img')].filter((part) => {
          const box = part.getBoundingClientRect();
          return box.width && (box.left < 0 || box.right > arguments[0] || box.top < 0 || box.bottom > 740);
        }).map((part) => part.outerHTML.slice(0, 80))"""
    assert browser.execute_script(outside, width) == []


CONTRASTS = """
const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const channels = (colour) => {
  paint.clearRect(0, 0, 1, 1);
  paint.fillStyle = colour;
  paint.fillRect(0, 0, 1, 1);
  return [...paint.getImageData(0, 0, 1, 1).data];
};
const luminance = (colour) => {
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = colour.slice(0, 3).map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const groundOf = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = channels(getComputedStyle(e).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255, 255];
};
const found = {};
for (const selector of arguments[0]) {
  const element = document.querySelector(selector);
  const both = [channels(getComputedStyle(element).color), groundOf(element)].map(luminance);
  found[selector] = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
}
return found;
"""
TEXTS = [
    *("h1", "header.page > p", "nav a", "h2", ".count", ".name a", ".facts", ".rank", ".open q", ".none", "#theme"),
    *("#view-name", "#view-facts", "#view-path", "#view-query", "#original", "#help dd", "#help kbd"),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_in_light_and_dark(browser: Browser, show: Show, scheme: str) -> None:
    show(scheme=scheme)
    contrasts = browser.execute_script(CONTRASTS, TEXTS)
    assert len(contrasts) == len(TEXTS)
    assert {selector: contrast for selector, contrast in contrasts.items() if contrast < 4.5} == {}


def test_the_theme_follows_the_system_until_it_is_chosen(browser: Browser, show: Show) -> None:
    def ground() -> int:
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        return int(colour.removeprefix("rgb(").split(",")[0])

    show(scheme="dark")
    assert ground() < 60
    theme = browser.find_element("css selector", "#theme")
    seen = []
    for _ in range(3):
        theme.click()
        seen.append((theme.text, ground() < 60))
    assert seen == [("Theme: light", False), ("Theme: dark", True), ("Theme: auto", True)]


def test_screen_readers_have_a_name_for_everything(browser: Browser, show: Show) -> None:
    show()
    press(browser, "ARROW_RIGHT", "ENTER")
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [(node.get("role", {}).get("value"), node.get("name", {}).get("value")) for node in nodes]
    assert ("dialog", NAMES[0]) in roles
    assert ("button", "Close") in roles
    press(browser, "ESCAPE")
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    shown = [
        (node["role"]["value"], node.get("name", {}).get("value", ""), node.get("description", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored")
    ]
    assert ("region", "a cat", "") in shown
    assert ("button", NAMES[0], "1 61 bits · 2014-05-13") in shown
    assert [each for each in shown if each[0] in ("button", "link", "image", "heading", "region") and not each[1]] == []


def test_on_paper_there_are_photos_and_no_buttons(browser: Browser, show: Show) -> None:
    show()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return getComputedStyle(document.querySelector(arguments[0])).display !== 'none'"
    assert browser.execute_script(shown, ".open img")
    assert not browser.execute_script(shown, ".tools")
    assert not browser.execute_script(shown, "nav")


def test_a_thousand_answers_stay_usable(browser: Browser, show: Show, tmp_path: Path) -> None:
    with Image.open(SKIMAGE / "chelsea.png") as photo:
        photo.resize((120, 80)).save(tmp_path / "small.png")
    many = [SearchResult(n, "image", str(tmp_path / "small.png"), 60, 256) for n in range(1, 1001)]
    write(tmp_path / "many.html", "a cat", [QueryResults("a cat", many)])
    show(page=tmp_path / "many.html")

    def last_is_focused() -> bool:
        press(browser, "END")  # each time: a busy machine may lose a key while it lays out a thousand photos
        return focused(browser) == 999

    wait_for(last_is_focused)
    press(browser, "ENTER")
    assert content(browser, "#view-facts").startswith("Result 1000 of 1000")
    press(browser, "ESCAPE", "ARROW_UP")
    wait_for(lambda: 0 <= focused(browser) < 999)


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_checker_of_accessibility_finds_nothing(browser: Browser, show: Show, scheme: str, width: int) -> None:
    show(width=width, scheme=scheme)
    assert findings(browser) == []
    press(browser, "ARROW_DOWN", "ENTER")
    wait_for(lambda: is_open(browser))
    assert findings(browser) == []
    press(browser, "ESCAPE", "?")
    wait_for(lambda: bool(browser.execute_script("return document.querySelector('#help').open")))
    assert findings(browser) == []
    press(browser, "ESCAPE")
    browser.execute_script("document.querySelector('#theme').textContent = ''")
    assert findings(browser) != []  # the checker has looked
