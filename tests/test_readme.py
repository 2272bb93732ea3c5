"""What README.md promises, through the real command, as it stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hashcli
from tests.conftest import PHOTOS, SKIMAGE, Run

CHECKOUT = Path(__file__).parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PROSE = [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PROSE += [path for path in (CHECKOUT / "docs").glob("*.md") if path.name != "reference.md"]


def code(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_first_command_finds_the_cup_of_coffee(hashcli_process: Run) -> None:
    """Its second and third part; the first installs hashcli, which `.ci/run` does."""
    (command, *_) = code("sh")
    install, index, search = command.strip().split(" && ")
    assert install == "pip install . scikit-image"
    assert index.startswith("hashcli index --index ./try ")
    assert search == 'hashcli search --index ./try "a cup of coffee" -k 3'
    done = hashcli_process("index", "--index", "./try", *sorted(SKIMAGE.glob("*.[jp][pn]g")))
    assert "26 added" in done.stderr
    rows = hashcli_process("search", "--index", "./try", "a cup of coffee", "-k", "3").stdout.splitlines()
    found = [(rank, distance, Path(path).name) for rank, distance, path in (row.split("\t") for row in rows)]
    shown = re.findall(r"^ +(\d) +(\d+) +…/site-packages/skimage/data/(\S+)$", README, re.MULTILINE)
    assert found == shown


def test_what_it_does(hashcli_process: Run, photos: Path) -> None:
    """The two commands for one's own photos, and each of the others that it names."""
    assert f"{len(PHOTOS)} added" in hashcli_process("index", photos).stderr
    assert hashcli_process("search", *["a", "cat", "on", "a", "blanket"]).stdout.splitlines()[0].endswith("chelsea.png")
    asked = ("--image", photos / "coffee.png", "--text", "2:coins", "--not", "a person", "--after", "2000")
    assert hashcli_process("search", *asked, "--in", photos, "--all").stdout
    (photos / "coins.png").rename(photos / "money.png")
    assert "1 moved" in hashcli_process("index").stderr
    shutil.copy(photos / "moon.png" if (photos / "moon.png").exists() else photos / "grass.png", photos / "again.png")
    hashcli_process("index")
    assert "again.png" in hashcli_process("duplicates").stdout


def test_the_python_program_prints_what_the_terminal_prints(
    hashcli_process: Run, photos: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (program,) = code("python")
    program = program.replace("~/Pictures", str(photos)).replace("dog on a beach", "a cup of coffee")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    found = hashcli_process("search", "a cup of coffee", "-k", "5", "--index", "photo-index").stdout.splitlines()
    assert found
    printed = [line.rpartition(" ") for line in done.stdout.splitlines()]
    assert [(distance, path) for path, _, distance in printed] == [
        (distance, str(tmp_path / path)) for _, distance, path in (row.split("\t") for row in found)
    ]


def test_its_version_is_that_of_the_package() -> None:
    assert f'\nversion = "{hashcli.__version__}"\n' in (CHECKOUT / "pyproject.toml").read_text()
    assert f"\n## {hashcli.__version__}\n" in (CHECKOUT / "CHANGELOG.md").read_text()


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_lines_of_prose_are_not_long_and_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    written = re.sub(r"<!-- ([\w-]+): begin -->.*?<!-- \1: end -->", "", text, flags=re.DOTALL)  # by a program
    prose = re.sub(r"^```.*?^```|^\|.*?$", "", written, flags=re.MULTILINE | re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 120] == []
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
