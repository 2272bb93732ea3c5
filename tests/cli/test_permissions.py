"""Files and folders that we may not read or write: each is named with a way out, and everything else still works."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Run, checked
from tests.index.indexing import make_album

WAY_OUT = "Check its permissions"


@pytest.fixture
def denied(tmp_path: Path) -> Iterator[None]:
    """Folders whose rights the test has taken can be deleted afterwards."""
    yield
    for folder, _, _ in os.walk(tmp_path, topdown=True):
        os.chmod(folder, 0o755)


@pytest.fixture
def restricted(tmp_path: Path, environment: dict[str, str], denied: None) -> Run:
    """Run the real command as a user whom permissions bind; root is, without two of its capabilities."""
    prefix: list[str] = []
    if os.name != "posix":
        pytest.skip("permissions are those of POSIX")
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and there is no setpriv")
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]

    def run(*arguments: object, status: int = 0, first: str = "") -> subprocess.CompletedProcess[str]:
        """`first` is a line of Python that the process begins with."""
        program = f"import os, sys; {first or None}; os.execvp(sys.argv[1], sys.argv[1:])"
        command = [sys.executable, "-c", program, *prefix, sys.executable, "-m", "hashcli", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return checked(done, status)

    return run


def test_photos_and_folders_that_cannot_be_read(restricted: Run, tmp_path: Path, tiny_model: Path) -> None:
    """They are named, and left out for now; what was indexed of them stays."""
    photos = make_album(tmp_path / "photos")
    restricted("index", "--index", "ix", "--model", tiny_model, "photos")
    shutil.copy(photos / "coffee.png", photos / "secret.png")
    (photos / "secret.png").chmod(0)
    (photos / "trip").chmod(0)
    shutil.copy(photos / "coffee.png", photos / "new.png")
    said = restricted("index", "--index", "ix", status=3).stderr
    assert f"skipped {photos / 'secret.png'}: permission denied" in said
    assert f"skipped {photos / 'trip'}: permission denied" in said
    assert "1 added, 10 unchanged, 2 skipped" in said
    (photos / "trip").chmod(0o755)
    assert "13 unchanged, 1 skipped" in restricted("index", "--index", "ix", status=3).stderr


@pytest.mark.parametrize("name", ["catalog.sqlite", "lock", "."])
def test_an_index_that_cannot_be_used(restricted: Run, tmp_path: Path, tiny_model: Path, name: str) -> None:
    make_album(tmp_path / "photos")
    restricted("index", "--index", "ix", "--model", tiny_model, "photos")
    (tmp_path / "ix" / name).chmod(0)
    done = restricted("index", "--index", "ix", "photos", status=1)
    assert str(tmp_path / "ix" / name) in done.stderr
    assert "permissions" in done.stderr
    if name != "lock":
        done = restricted("search", "--index", "ix", "a cat", status=1)
        assert f"{tmp_path / 'ix' / 'catalog.sqlite'} cannot be used" in done.stderr
        assert WAY_OUT in done.stderr


def test_an_index_folder_in_which_nothing_can_be_made(restricted: Run, tmp_path: Path, tiny_model: Path) -> None:
    photos = make_album(tmp_path / "photos")
    restricted("index", "--index", "ix", "--model", tiny_model, "photos")
    (tmp_path / "ix").chmod(0o555)
    assert restricted("search", "--index", "ix", "a cat", "--all", "--paths").stdout
    (photos / "coffee.png").unlink()
    done = restricted("index", "--index", "ix", "photos", status=1)
    assert str(tmp_path / "ix") in done.stderr
    assert "permissions" in done.stderr


@pytest.mark.parametrize("name", ["", "model.json", "text.onnx", "tokenizer.json"])
def test_a_model_that_cannot_be_read(restricted: Run, tmp_path: Path, tiny_model: Path, name: str) -> None:
    make_album(tmp_path / "photos")
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    restricted("index", "--index", "ix", "--model", model, "photos")
    (model / name).chmod(0)
    done = restricted("search", "--index", "ix", "a cat", status=1)
    assert str(model / name) in done.stderr
    assert "ermission denied" in done.stderr
    assert WAY_OUT in done.stderr


def test_a_working_folder_that_cannot_be_read(restricted: Run, tmp_path: Path) -> None:
    """As for a user who becomes another one in a folder of his own: a model is still found by its name."""
    make_album(tmp_path / "photos")
    first = "os.mkdir('own'); os.chdir('own'); os.chmod('.', 0)"
    done = restricted("index", "--index", tmp_path / "ix", tmp_path / "photos" / "coffee.png", first=first)
    assert "1 added" in done.stderr


@pytest.mark.parametrize("command", [["index", "photos"], ["search", "a cat"], ["models"]])
def test_a_working_folder_that_was_deleted(restricted: Run, tmp_path: Path, command: list[str]) -> None:
    first = "os.mkdir('gone'); os.chdir('gone'); os.environ['PWD'] = os.getcwd(); os.rmdir('../gone')"
    said = restricted(*command, first=first, status=1).stderr
    assert f"{tmp_path / 'gone'}, was deleted or moved" in said
    assert "cd ~" in said


def test_a_data_folder_that_cannot_be_read(restricted: Run, tmp_path: Path) -> None:
    """What comes with hashcli works without it."""
    make_album(tmp_path / "photos")
    (tmp_path / "data").mkdir(mode=0)
    restricted("index", "--index", "ix", "photos/coffee.png")
    assert "lite-256" in restricted("models").stdout
    done = restricted("search", "a cat", status=1)
    assert WAY_OUT in done.stderr


def test_a_config_file_that_cannot_be_read(restricted: Run, tmp_path: Path) -> None:
    (tmp_path / "config" / "hashcli").mkdir(parents=True)
    file = tmp_path / "config" / "hashcli" / "config.toml"
    file.write_text("")
    for place in (file, file.parent):
        place.chmod(0)
        done = restricted("search", "a cat", status=2)
        assert f"{file} cannot be read: permission denied" in done.stderr
        assert WAY_OUT in done.stderr
