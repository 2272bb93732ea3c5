"""Which items a filter takes."""

import time
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from hashcli import Filter, HashcliError
from hashcli.index.catalog import FilterFields
from hashcli.index.filter_table import FilterTable


@pytest.fixture(autouse=True)
def new_york(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Five hours behind UTC in winter, four in summer."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def seconds(moment: str) -> int:
    """As cameras write it down: local time, as if it were UTC."""
    return int(datetime.fromisoformat(f"{moment}+00:00").timestamp())


def takes(where: Filter, path: str = "/photos/a.jpg", taken: int | None = None, mtime_ns: int | None = None) -> bool:
    table = FilterTable.of([FilterFields(path, taken, mtime_ns)])
    return bool(where.compiled().taken_of(table, "/base", lambda file: [0] if file == path else [])[0])


def test_no_filter_takes_everything() -> None:
    assert takes(Filter())
    assert not Filter().compiled()
    assert Filter(types="jpg").compiled()


def test_folders_by_their_name_or_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    monkeypatch.chdir(tmp_path)
    inside = str(tmp_path / "photos" / "a.jpg")
    given: list[Any] = ["photos", ["photos"], tmp_path / "photos", ["no", Path("link")], "link"]
    for folders in given:
        assert takes(Filter(folders), inside)
    assert takes(Filter("link"), str(tmp_path / "link" / "a.jpg"))  # where the index knows it by the link
    assert takes(Filter(inside), inside)
    assert not takes(Filter("photos"), str(tmp_path / "photos 2" / "a.jpg"))


@pytest.mark.parametrize(
    ("types", "taken", "not_taken"),
    [
        ("jpg", {"a.jpg", "a.JPEG"}, {"a.png", "jpg"}),
        ([".TIF", "heic"], {"a.tiff", "a.tif", "a.heif"}, {"a.jpg"}),
        ("png", {"a.PNG"}, {"a.jpeg"}),
    ],
)
def test_types(types: Any, taken: set[str], not_taken: set[str]) -> None:
    assert {name for name in taken | not_taken if takes(Filter(types=types), f"/photos/{name}")} == taken


@pytest.mark.parametrize("after", ["2023-05", "2023-05-01", "2023-05-01T00:00", date(2023, 5, 1), datetime(2023, 5, 1)])
def test_after_includes_the_day_and_before_does_not(after: Any) -> None:
    first, last = seconds("2023-05-01T00:00:00"), seconds("2023-04-30T23:59:59")
    assert takes(Filter(after=after), taken=first)
    assert not takes(Filter(after=after), taken=last)
    assert takes(Filter(before=after), taken=last)
    assert not takes(Filter(before=after), taken=first)


def test_a_photo_without_a_date_has_the_local_time_of_its_file() -> None:
    """1 July 2023, 03:00 UTC is still June in New York."""
    mtime_ns = seconds("2023-07-01T03:00:00") * 10**9
    assert takes(Filter(before="2023-07"), mtime_ns=mtime_ns)
    assert not takes(Filter(after="2023-07"), mtime_ns=mtime_ns)
    assert not takes(Filter(after="1900"))  # nothing is known of its date


def test_folders_and_types_may_come_from_any_iterable() -> None:
    """A generator can be read only once, and a filter is used many times."""
    where = Filter(folders=(name for name in ["/photos"]), types=iter(["jpg"]))
    for _ in range(2):
        assert takes(where, "/photos/a.jpg")
        assert not takes(where, "/photos/a.png")
        assert not takes(where, "/elsewhere/a.jpg")


def test_a_year_may_be_a_number() -> None:
    assert Filter(after=2023).compiled() == Filter(after="2023").compiled()


@pytest.mark.parametrize("folders", ["", ["photos", ""]])
def test_an_empty_folder_is_an_error(folders: Any) -> None:
    with pytest.raises(HashcliError, match="is empty"):
        Filter(folders)


@pytest.mark.parametrize("day", [23, 2023.5, "tomorrow", "2023-13", "", "2023-02-30", "23"])
def test_what_is_no_day_is_an_error(day: Any) -> None:
    with pytest.raises(HashcliError, match="is not a day"):
        Filter(after=day)
    with pytest.raises(HashcliError, match="is not a day"):
        Filter(before=day)


def test_a_folder_in_another_unicode_form_than_it_has_on_disk_or_in_the_index(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (tmp_path / decomposed).mkdir()
    assert takes(Filter(tmp_path / composed), str(tmp_path / decomposed / "a.jpg"))
    assert takes(Filter(f"/no/{composed}"), f"/no/{decomposed}/a.jpg")  # on a disk that is away
    assert takes(Filter(f"/no/{decomposed}"), f"/no/{composed}/a.jpg")
    assert not takes(Filter(f"/no/{composed}"), "/no/cafe/a.jpg")
