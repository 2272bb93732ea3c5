"""What axe-core, a checker of accessibility, finds on a page in a real browser."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

_PACKAGES = ("axe_playwright_python", "axe_core_python")  # both carry it; the first has a newer one
_RUN = """
const done = arguments[0];
axe.run(document, {}).then(({ violations }) => done(violations.flatMap(({ id, help, nodes }) =>
    nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 200)}: ${node.failureSummary}`))));
"""


def _axe() -> Path | None:
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        if found and found.origin:
            return Path(found.origin).parent / "axe.min.js"
    return None


needs_axe = pytest.mark.skipif(_axe() is None, reason="axe-core-python is not installed")


def findings(browser: Any) -> list[str]:
    """What is wrong with the page as it is shown now. The page's own policy does not hold for the checker."""
    path = _axe()
    assert path
    browser.execute_script(path.read_text(encoding="utf-8"))
    found: list[str] = browser.execute_async_script(_RUN)
    return found
