"""Fixtures of the tests of an index."""

import shutil
from pathlib import Path

import pytest

from tests.index.indexing import IndexFolder, make_album


@pytest.fixture(scope="session")
def album_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_album(tmp_path_factory.mktemp("albums") / "photos")


@pytest.fixture
def album(album_source: Path, tmp_path: Path) -> Path:
    """A folder of a dozen small photos, two of them one folder down, that a test may change."""
    return Path(shutil.copytree(album_source, tmp_path / "photos"))


@pytest.fixture
def new_index(tiny_model: Path, tmp_path: Path) -> IndexFolder:
    """A place for an index beside the album, which the first update makes with the tiny model."""
    return IndexFolder(tmp_path / "ix", tiny_model)


@pytest.fixture
def index(new_index: IndexFolder, album: Path) -> IndexFolder:
    """An index of the album, made with the tiny model."""
    new_index.update(album)
    return new_index
