"""The wheel carries all that indexing and searching need."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import SKIMAGE

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, CHECKOUT]
    subprocess.run([str(part) for part in command], check=True, cwd=folder)
    return next(folder.glob("*.whl"))


def test_the_wheel_installed_away_from_the_checkout_finds_photos(
    wheel: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
        str(wheel),
    ]
    subprocess.run(install, check=True, cwd=tmp_path)
    alone = environment | {"PYTHONPATH": str(tmp_path / "site")}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], check=True, cwd=tmp_path, env=alone, capture_output=True, text=True
        )
        return done.stdout

    assert run("-c", "import hashcli; print(hashcli.__file__)").startswith(str(tmp_path))
    photos = [str(SKIMAGE / name) for name in ("chelsea.png", "coffee.png", "rocket.jpg", "grass.png")]
    run("-m", "hashcli", "index", *photos)
    assert run("-m", "hashcli", "search", "a cup of coffee", "--paths").splitlines()[0].endswith("coffee.png")


def test_the_wheel_holds_the_package_the_model_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "hashcli/models/lite-256/image.onnx" in names
    assert "hashcli/py.typed" in names
    assert "hashcli/distillation/everyday_sentences.txt" in names
    assert all(name.startswith(("hashcli/", "hashcli-")) for name in names)
    assert sum(info.file_size for info in zipfile.ZipFile(wheel).infolist()) < 52e6


def test_no_file_of_the_repository_is_large() -> None:
    if not (CHECKOUT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True).stdout
    sizes = [os.path.getsize(CHECKOUT / os.fsdecode(name)) for name in listed.split(b"\0") if name]
    assert sum(sizes) < 60e6
