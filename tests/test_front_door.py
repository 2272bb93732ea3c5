"""What `import hashcli` offers, and what it costs."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hashcli
from hashcli.cli import remedies

NAMES = {
    "DistanceLimit",
    "Filter",
    "HashModel",
    "HashcliError",
    "Index",
    "Query",
    "SearchResult",
    "SearchResults",
    "UpdateCallback",
    "UpdateSummary",
    "WhyNone",
    "__version__",
    "load_model",
    "open_index",
    "pack",
}


def test_the_names_that_are_offered() -> None:
    """A name that is taken away breaks somebody's program; one that is added has to be kept."""
    assert set(hashcli.__all__) == NAMES
    assert set(dir(hashcli)) >= NAMES
    for name in NAMES - {"__version__"}:
        offered = getattr(hashcli, name)
        assert offered.__name__ == name
        assert inspect.getdoc(offered), f"{name} says nothing of itself"


def test_a_name_that_is_not_offered() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'open_idnex'"):
        hashcli.open_idnex  # noqa: B018
    with pytest.raises(ImportError):
        from hashcli import no_such_name  # noqa: F401


def test_importing_it_loads_nothing_but_what_python_has_loaded_already(tmp_path: Path) -> None:
    program = "import typing, sys; before = {*sys.modules}; import hashcli; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hashcli"]


def test_the_terminal_knows_no_remedy_for_an_error_that_is_not_there() -> None:
    """The remedies go by the name of the error's class, so that looking one up loads nothing."""
    source = "".join(path.read_text(encoding="utf-8") for path in Path(hashcli.__file__).parent.rglob("*.py"))
    assert {*remedies._REMEDIES} <= {*re.findall(r"^class (\w+Error)\(", source, re.MULTILINE)}
