"""What scans leave out."""

from pathlib import Path

import pytest

from hashcli.index.files.exclusion import Exclusion, PatternError, Rules
from hashcli.index.files.scan import scan
from tests.index.files.test_scan import touch


def found_below(folder: Path, *exclude: str, include: tuple[str, ...] = ()) -> list[str]:
    """What a scan finds with these patterns, relative to the folder."""
    rules = Exclusion().changed(exclude, include).rules_in(str(folder), [str(folder)])
    found = scan({str(folder): rules}, hidden=True)
    assert found.problems == []
    return sorted(str(Path(path).relative_to(folder)) for path in found.files)


def test_folders_without_photos_of_their_own_are_left_out(tmp_path: Path) -> None:
    names = ["@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", ".Trash-1000", ".git", "__MACOSX", ".thumbnails"]
    touch(tmp_path, "a.jpg", "recycled/b.jpg", "System Volume Information/c.jpg", "x.lrdata/d.jpg")
    touch(tmp_path, "P.photoslibrary/originals/e.jpg", "P.photoslibrary/resources/f.jpg")
    touch(tmp_path, *(f"trip/{name}/g.jpg" for name in names), "trip/@EADIR/h/i.jpg")
    assert found_below(tmp_path) == ["P.photoslibrary/originals/e.jpg", "a.jpg", "recycled/b.jpg"]
    assert "trip/#recycle/g.jpg" in found_below(tmp_path, include=("#recycle",))


def test_patterns_are_those_of_gitignore(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "drafts/b.jpg", "trip/drafts/c.jpg", "trip/d.PNG", "trip/keep.png")
    assert found_below(tmp_path, "*.png") == ["a.jpg", "drafts/b.jpg", "trip/d.PNG", "trip/drafts/c.jpg"]
    assert found_below(tmp_path, "/drafts", "*.[pP][nN][gG]") == ["a.jpg", "trip/drafts/c.jpg"]
    assert found_below(tmp_path, "trip/**/*.jpg", "*.png") == ["a.jpg", "drafts/b.jpg", "trip/d.PNG"]
    assert found_below(tmp_path, "*.png", "drafts/", include=("keep.png",)) == ["a.jpg", "trip/d.PNG", "trip/keep.png"]


def test_ignore_files_hold_for_their_folder_and_below(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "trip/b.jpg", "trip/c.png", "trip/deep/d.jpg", "other/d.jpg")
    (tmp_path / ".hashcliignore").write_bytes(b"# no screenshots\r\n*.png\r\n")
    (tmp_path / "trip" / ".hashcliignore").write_text("!c.png\n/b.jpg\nd.jpg\n")
    assert found_below(tmp_path) == ["a.jpg", "other/d.jpg", "trip/c.png"]
    assert found_below(tmp_path, "other") == ["a.jpg", "trip/c.png"]


def test_an_ignore_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / ".hashcliignore").write_text("!\n")
    found = scan({str(tmp_path): Rules()})
    assert [path for path, _ in found.problems] == [str(tmp_path / ".hashcliignore")]
    assert list(found.files) == [str(tmp_path / "a.jpg")]


def test_a_folder_that_is_named_is_taken_and_the_rules_above_hold_in_it(tmp_path: Path) -> None:
    touch(tmp_path, "@eaDir/a.jpg", "@eaDir/a.png", "trip/b.jpg", "trip/b.png")
    (tmp_path / ".hashcliignore").write_text("*.png\n")
    root = str(tmp_path)
    for exclusion in (Exclusion(), Exclusion().changed(["trip"], [])):
        named = {str(tmp_path / name): exclusion.rules_in(str(tmp_path / name), [root]) for name in ("@eaDir", "trip")}
        assert sorted(Path(path).name for path in scan(named).files) == ["a.jpg", "b.jpg"]


def test_files_that_are_named_are_left_out_within_a_root_only(tmp_path: Path) -> None:
    touch(tmp_path, "in/@eaDir/a.jpg", "in/b.png", "in/c.jpg", "out/@eaDir/d.png")
    (tmp_path / "in" / ".hashcliignore").write_text("*.png\n")
    files = [str(path) for path in tmp_path.rglob("*.*") if path.is_file()]
    left_out = Exclusion().left_out(files, {str(tmp_path / "in")})
    assert {Path(path).name: pattern for path, pattern in left_out.items()} == {"a.jpg": "@eaDir", "b.png": "*.png"}


def test_the_last_word_counts() -> None:
    exclusion = Exclusion().changed(["*.png", "#recycle"], [])
    assert exclusion.patterns == ("*.png", "\\#recycle")
    assert exclusion.changed([], ["*.png"]).patterns == ("\\#recycle", "!*.png")
    assert exclusion.changed([], ["*.png"]).changed(["*.png"], []).patterns == ("\\#recycle", "*.png")


@pytest.mark.parametrize("pattern", ["", " ", "!a", "\\", "a\nb"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(PatternError, match="is not a pattern"):
        Exclusion().changed([pattern], [])


def test_naming_what_was_forgotten_brings_it_back() -> None:
    exclusion = Exclusion(forgotten=frozenset({"/a/b", "/a/d"}))
    assert exclusion.without_named(["/a/b", "/a/d/e"]).forgotten == {"/a/d"}
    assert exclusion.without_named(["/a"]).forgotten == set()
