"""Features are kept, and computed again when what they are of has changed."""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.towers import HashModelTower
from hashcli.errors import HashcliError
from hashcli.hashmodel.description import Interpolation, Resize
from tests.conftest import SKIMAGE


class Counted:
    """A tower whose features are the size of a photo's file and the length of its path. It counts the photos."""

    key = "counted"
    width = 2
    size = 8
    resize: Resize = "crop"
    interpolation: Interpolation = "bicubic"

    def __init__(self, seconds: float = 0) -> None:
        self.seen = 0
        self.seconds = seconds

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        for path in paths:
            self.seen += 1
            time.sleep(self.seconds)
            yield np.array([os.path.getsize(path), len(path)], np.float32)


def test_a_photo_that_cannot_be_read_is_an_error_or_a_row_of_nan(tmp_path: Path, tiny_model: Path) -> None:
    """Whichever was asked for first."""
    (tmp_path / "broken.jpg").write_bytes(b"")
    photos = [SKIMAGE / "chelsea.png", tmp_path / "broken.jpg"]
    cache, tower = FeatureCache(tmp_path / "cache", "own", nothing), HashModelTower(str(tiny_model))
    for _ in range(2):
        features = cache.images(tower, photos, all_readable=False)
        assert np.isnan(features).all(axis=1).tolist() == [False, True]
        with pytest.raises(HashcliError, match=r"broken\.jpg cannot be read"):
            cache.images(tower, photos)


def nothing(count: int) -> None:
    """A progress callback that does nothing."""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(bytes(number))
    return sorted(tmp_path.glob("*.jpg"))


def test_features_are_computed_once_and_counted(files: list[Path], tmp_path: Path) -> None:
    tower = Counted()
    counts: list[int] = []
    first = FeatureCache(tmp_path / "cache", "set", counts.append).images(tower, files)
    assert first[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert first.dtype == np.float32
    assert sum(counts) == tower.seen == 5
    again = FeatureCache(tmp_path / "cache", "set", counts.append).images(tower, files)
    assert np.array_equal(first, again)
    assert isinstance(again, np.memmap)
    assert tower.seen == 5


def test_what_the_features_are_of_decides_which_are_reused(files: list[Path], tmp_path: Path) -> None:
    tower, cache = Counted(), tmp_path / "cache"
    FeatureCache(cache, "set", nothing).images(tower, files)
    assert FeatureCache(cache, "set", nothing).images(tower, files[:3]).shape == (3, 2)
    assert tower.seen == 8
    assert FeatureCache(cache, "set", nothing).images(tower, files[::-1])[0, 0] == 4
    assert tower.seen == 13
    tower.size = 16
    FeatureCache(cache, "set", nothing).images(tower, files)
    assert tower.seen == 18


def test_a_photo_that_has_changed_is_seen_again(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower, cache = Counted(), tmp_path / "cache"
    FeatureCache(cache, "set", nothing).images(tower, files)
    files[2].write_bytes(bytes(100))
    assert FeatureCache(cache, "set", nothing).images(tower, files)[2, 0] == 100
    other = tmp_path / "elsewhere"  # the same names from another working directory are other photos
    other.mkdir()
    names = [Path(path.name) for path in files]
    for path in files:
        (other / path.name).write_bytes(b"other")
        os.utime(other / path.name, ns=(0, 0))
        path.write_bytes(b"first")
        os.utime(path, ns=(0, 0))
    monkeypatch.chdir(tmp_path)
    FeatureCache(cache, "set", nothing).images(tower, names)
    seen = tower.seen
    monkeypatch.chdir(other)
    FeatureCache(cache, "set", nothing).images(tower, names)
    assert tower.seen == seen + 5


def test_what_is_interrupted_leaves_nothing_that_counts(files: list[Path], tmp_path: Path) -> None:
    def stop(count: int) -> None:
        if tower.seen == 3:
            raise KeyboardInterrupt

    tower, cache = Counted(), tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        FeatureCache(cache, "set", stop).images(tower, files)
    assert list(cache.glob("*.npy")) == []
    assert FeatureCache(cache, "set", nothing).images(tower, files)[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_two_runs_at_once_compute_features_once(files: list[Path], tmp_path: Path) -> None:
    towers = [Counted(seconds=0.02), Counted(seconds=0.02)]
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(
            target=lambda tower=tower: results.append(
                FeatureCache(tmp_path / "cache", "set", nothing).images(tower, files)
            )
        )
        for tower in towers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tower.seen for tower in towers) == [0, 5]
    assert [result[:, 0].tolist() for result in results] == [[0, 1, 2, 3, 4]] * 2


def test_a_photo_that_cannot_be_read_is_named(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    paths = sorted(photos.rglob("*.png"))
    paths[3].write_bytes(b"")
    with pytest.raises(HashcliError, match=f"{paths[3].name} cannot be read: "):
        FeatureCache(tmp_path / "cache", "set", nothing).images(HashModelTower(str(tiny_model)), paths)
    assert list((tmp_path / "cache").glob("*.npy")) == []


def test_what_a_kill_interrupts_goes_on_where_it_was(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some rows are saved as it goes on; the others are computed again, and all of them are counted."""
    monkeypatch.setattr("hashcli.distillation.feature_cache.SAVED_EVERY", 2)

    def stop(count: int) -> None:
        if tower.seen == 4:
            raise KeyboardInterrupt

    tower, cache = Counted(), tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        FeatureCache(cache, "set", stop).images(tower, files)
    counts: list[int] = []
    features = FeatureCache(cache, "set", counts.append).images(tower, files)
    assert features[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert tower.seen == 4 + 3
    assert counts == [2, 1, 1, 1]
    assert {path.suffix for path in cache.iterdir()} == {".npy", ".lock"}
