"""The difference between the disk and an index, found without reading a file."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from hashcli.index.catalog import FileState, IndexedFile
from hashcli.index.files.exclusion import Exclusion
from hashcli.index.files.plan import IndexedPaths, UpdatePlan, make_plan
from hashcli.index.files.scan import scan
from hashcli.index.summary import UpdateOptions

not_as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos, one of them in a subfolder, and a sidecar."""
    touch(tmp_path / "photos", "a.jpg", "a.txt", "trip/b.jpg")
    return tmp_path / "photos"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def indexed(roots: Iterable[Path], files: Iterable[Path] = ()) -> IndexedPaths:
    """As if everything below some folders, and some files, had been indexed as it is now."""
    found = {*files, *(path for root in roots for path in root.rglob("*.*") if path.is_file())}
    return IndexedPaths(
        {str(path): indexed_file(path) for path in sorted(found)}, {str(root): root.stat().st_dev for root in roots}
    )


def indexed_file(path: Path) -> IndexedFile:
    state = path.stat()
    photo = path.with_suffix(".jpg")
    is_sidecar = path.suffix == ".txt" and photo.exists()
    return IndexedFile(1, FileState.of(state), b"", True, str(photo) if is_sidecar else None)


def plan(index: IndexedPaths, *paths: Path, **options: bool) -> UpdatePlan:
    counts: list[int] = []
    return make_plan(index, [str(path) for path in paths], UpdateOptions(**options), counts.append)  # type: ignore[arg-type]


def names(paths: Iterable[str]) -> list[str]:
    return [Path(path).name for path in paths]


def changed(plan: UpdatePlan) -> list[str]:
    return names(file.path for file in [*plan.photos.changed, *plan.texts.changed])


def missing(plan: UpdatePlan) -> list[str]:
    return names([*plan.photos.missing, *plan.texts.missing])


def unchanged(plan: UpdatePlan) -> tuple[int, int]:
    return plan.photos.unchanged, plan.texts.unchanged


def test_a_new_folder(folder: Path) -> None:
    new = plan(IndexedPaths({}, {}), folder)
    assert changed(new) == ["a.jpg", "b.jpg", "a.txt"]
    assert [file.photo for file in new.texts.changed] == [str(folder / "a.jpg")]
    assert all(file.indexed is None for file in new.photos.changed)
    assert new.roots == {str(folder): folder.stat().st_dev}
    assert (missing(new), new.problems, new.deleted_roots) == ([], [], [])


def test_nothing_to_do(folder: Path) -> None:
    for paths in ((), (folder,), (folder / "trip", folder)):
        same = plan(indexed([folder]), *paths)
        assert (changed(same), missing(same), unchanged(same)) == ([], [], (2, 1))


def test_a_part_leaves_the_rest_alone(folder: Path) -> None:
    index = indexed([folder])
    touch(folder, "new.jpg", "trip/new too.jpg")
    part = plan(index, folder / "trip")
    assert (changed(part), missing(part), unchanged(part)) == (["new too.jpg"], [], (1, 0))


def test_files_that_are_new_changed_or_gone(folder: Path) -> None:
    index = indexed([folder])
    touch(folder, "new.jpg")
    (folder / "trip" / "b.jpg").unlink()
    (folder / "a.jpg").write_text("another content")
    os.utime(folder / "a.txt")
    difference = plan(index)
    assert changed(difference) == ["a.jpg", "new.jpg", "a.txt"]
    assert [file.indexed is None for file in difference.photos.changed] == [False, True]
    assert missing(difference) == ["b.jpg"]
    assert list(difference.photos.missing.values()) == [dict(index.files.items())[str(folder / "trip" / "b.jpg")]]


def test_a_sidecar_goes_with_its_photo(folder: Path) -> None:
    index = indexed([folder])
    (folder / "a.jpg").rename(folder / "c.jpg")
    assert missing(plan(index)) == ["a.jpg", "a.txt"]
    (folder / "c.jpg").rename(folder / "a.png")
    another_photo = plan(index)
    assert missing(another_photo) == ["a.jpg"]
    assert changed(another_photo) == ["a.png", "a.txt"]


def test_a_photo_that_waits_to_be_encoded_has_changed(folder: Path) -> None:
    index = indexed([folder])
    path = str(folder / "a.jpg")
    waiting = IndexedFile(1, dict(index.files.items())[path].state, b"", encoded=False)
    assert changed(plan(IndexedPaths({**dict(index.files.items()), path: waiting}, index.roots))) == ["a.jpg"]


def test_with_rehash_everything_indexed_is_looked_at_and_no_photo_is_encoded(folder: Path) -> None:
    everything = plan(indexed([folder]), folder / "trip", rehash=True)
    assert changed(everything) == ["b.jpg", "a.jpg"]
    assert not any(file.indexed and file.indexed.encoded for file in everything.photos.changed)
    assert everything.texts.unchanged == 1  # a text file need not be read again for its texts to be encoded


def test_without_texts_text_files_are_left_alone(folder: Path) -> None:
    index = indexed([folder])
    (folder / "a.txt").unlink()
    touch(folder, "trip/b.txt")
    photos_only = plan(index, texts=False)
    assert (changed(photos_only), missing(photos_only), unchanged(photos_only)) == ([], [], (2, 0))
    given = plan(index, folder / "trip" / "b.txt", texts=False)
    assert given.problems == [(str(folder / "trip" / "b.txt"), "a text file, and texts are left out")]


def test_files_given_by_name(folder: Path, tmp_path: Path) -> None:
    touch(tmp_path, "lines.txt", "odd.xyz")
    given = plan(IndexedPaths({}, {}), folder / "a.txt", tmp_path / "lines.txt", folder / "a.jpg", folder / "a.jpg")
    assert changed(given) == ["a.jpg", "a.txt", "lines.txt"]
    assert [file.photo for file in given.texts.changed] == [str(folder / "a.jpg"), None]
    assert given.roots == {}
    assert changed(plan(IndexedPaths({}, {}), tmp_path / "odd.xyz")) == ["odd.xyz"]  # its reader will say what it is


def test_paths_that_cannot_be_indexed(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    wrong = plan(IndexedPaths({}, {}), tmp_path / "nowhere", tmp_path / "pipe", folder / "a.jpg" / "b.jpg", folder)
    assert wrong.problems == [
        (str(tmp_path / "nowhere"), "no such file or folder"),
        (str(tmp_path / "pipe"), "not a file or a folder"),
        (str(folder / "a.jpg" / "b.jpg"), "not a directory"),
    ]
    assert len(changed(wrong)) == 3


def test_hidden_files_that_are_indexed_are_kept(folder: Path) -> None:
    touch(folder, ".hidden/c.jpg")
    hidden = folder / ".hidden" / "c.jpg"
    files = {**dict(indexed([folder]).files.items()), str(hidden): indexed_file(hidden)}
    index = IndexedPaths(files, {str(folder): folder.stat().st_dev})
    kept = plan(index)
    assert (changed(kept), missing(kept), unchanged(kept)) == ([], [], (3, 1))
    assert changed(plan(IndexedPaths({}, {}), folder, hidden=True)) == ["a.jpg", "c.jpg", "b.jpg", "a.txt"]


def test_a_photo_that_became_a_pipe_is_missing(folder: Path) -> None:
    index = indexed([folder])
    (folder / "trip" / "b.jpg").unlink()
    os.mkfifo(folder / "trip" / "b.jpg")
    assert missing(plan(index)) == ["b.jpg"]


# --- folders that are away ---


def test_a_root_that_is_gone_keeps_its_files(folder: Path, tmp_path: Path) -> None:
    index = indexed([folder])
    folder.rename(tmp_path / "unplugged")
    for paths in ((), (folder,)):
        away = plan(index, *paths)
        assert missing(away) == []
        assert (str(folder), "not reachable; its 2 photos and texts are kept") in away.problems
        assert away.deleted_roots == []
    other = tmp_path / "other"
    other.mkdir()
    assert plan(index, other).problems == []  # an update of something else says nothing of it


def test_an_empty_root_on_another_disk_is_a_mount_point(folder: Path) -> None:
    here = indexed([folder])
    elsewhere = IndexedPaths(here.files, {root: device + 1 for root, device in here.roots.items()})
    shutil.rmtree(folder)
    folder.mkdir()
    assert missing(plan(elsewhere)) == []
    assert plan(elsewhere).roots == {}
    assert len(missing(plan(here))) == 3  # on the same disk it was emptied


def test_a_root_within_another_was_deleted_if_the_disk_is_the_same(folder: Path) -> None:
    index = indexed([folder, folder / "trip"])
    shutil.rmtree(folder / "trip")
    deleted = plan(index)
    assert missing(deleted) == ["b.jpg"]
    assert deleted.deleted_roots == [str(folder / "trip")]
    assert deleted.problems == []
    on_another_disk = {**index.roots, str(folder / "trip"): folder.stat().st_dev + 1}
    away = plan(IndexedPaths(index.files, on_another_disk))
    assert missing(away) == []
    assert away.problems == [(str(folder / "trip"), "not reachable; its 1 photos are kept")]


def test_a_root_within_another_need_not_be_one(folder: Path) -> None:
    trip = folder / "trip"
    for roots, paths in (([trip], [folder]), ([folder, trip], []), ([], [trip, folder])):
        found = plan(indexed(roots), *paths)
        assert list(found.roots) == [str(folder)]
        assert found.inner_roots == [str(trip)] * (trip in roots)
        assert missing(found) == []


def test_a_root_within_another_stays_if_that_would_not_find_it(folder: Path) -> None:
    """Because it is hidden, left out, or was on another disk."""
    trip, device = folder / "trip", folder.stat().st_dev
    index = indexed([trip])
    away = IndexedPaths(index.files, {str(trip): device + 1})
    excluded = IndexedPaths(index.files, index.roots, Exclusion(("trip",)))
    for kept in (plan(away, folder), plan(excluded, folder)):
        assert (list(kept.roots), kept.inner_roots) == ([str(folder)], [])
    trip.rename(folder / ".trip")
    hidden = plan(indexed([folder / ".trip"]), folder, hidden=True)
    assert (list(hidden.roots), hidden.inner_roots) == ([str(folder)], [])


def test_a_root_that_goes_during_the_scan_keeps_its_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = indexed([folder])

    def scan_and_unplug(folders: Iterable[str], **options: object) -> object:
        folder.rename(folder.with_name("unplugged"))
        return scan(folders, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("hashcli.index.files.plan.scan", scan_and_unplug)
    away = plan(index)
    assert missing(away) == []
    assert away.roots == {}
    assert (str(folder), "not reachable; its 2 photos and texts are kept") in away.problems


def test_a_file_given_by_name_is_kept_while_its_folder_is_away(folder: Path, tmp_path: Path) -> None:
    index = indexed([], [folder / "a.jpg", folder / "trip" / "b.jpg"])
    assert index.to_refresh() == [str(folder / "a.jpg"), str(folder / "trip" / "b.jpg")]
    (folder / "a.jpg").unlink()
    (folder / "trip").rename(tmp_path / "unplugged")
    away = plan(index)
    assert missing(away) == ["a.jpg"]
    assert away.problems == [(str(folder / "trip"), "not reachable; its 1 photos are kept")]


@not_as_root
def test_a_folder_without_permission_keeps_its_files(folder: Path) -> None:
    index = indexed([folder])
    (folder / "trip").chmod(0)
    try:
        unread = plan(index)
    finally:
        (folder / "trip").chmod(0o755)
    assert missing(unread) == []
    assert unread.problems == [(str(folder / "trip"), "permission denied")]


def test_a_folder_that_cannot_be_read_keeps_its_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, and for root too, who may read everything: here the system itself fails."""
    index = indexed([folder])
    trip = str(folder / "trip")
    real_stat = os.stat

    def failing_stat(path: str, *arguments: object, **options: object) -> os.stat_result:
        if isinstance(path, str) and path.startswith(trip):
            raise OSError(5, "Input/output error", path)
        return real_stat(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", failing_stat)
    unread = plan(index)
    monkeypatch.undo()
    assert missing(unread) == []
    assert unread.problems == [(trip, "input/output error")]


def test_what_an_update_without_paths_looks_at(folder: Path, tmp_path: Path) -> None:
    touch(tmp_path, "lines.txt")
    assert indexed([folder], [tmp_path / "lines.txt"]).to_refresh() == [str(folder), str(tmp_path / "lines.txt")]
