"""Dates in the forms in which programs write them."""

import time
from collections.abc import Iterator

import pytest

from hashcli.index.files.dates import from_utc, parse_date
from hashcli.printable import local_time


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2019:07:04 12:30:05", "2019-07-04T12:30:05"),
        ("2019:07:04 12:30:05\0", "2019-07-04T12:30:05"),
        ("2019-07-04T12:30:05", "2019-07-04T12:30:05"),
        ("2019-07-04T12:30:05.250", "2019-07-04T12:30:05"),
        ("2019-07-04T12:30:05+02:00", "2019-07-04T12:30:05"),  # the local time where it was taken
        ("2019-07-04T12:30:05-0700", "2019-07-04T12:30:05"),
        ("2019-07-04T12:30:05Z", "2019-07-04T21:30:05"),
        ("2019-07-04 12:30", "2019-07-04T12:30:00"),
        ("2019/07/04 12:30:05", "2019-07-04T12:30:05"),
        ("2019-07-04 02:30 PM", "2019-07-04T14:30:00"),
        ("20190704T123005", "2019-07-04T12:30:05"),
        ("20190704", "2019-07-04T00:00:00"),
        ("2019:07:04", "2019-07-04T00:00:00"),
        ("2019:07:04   :  :  ", "2019-07-04T00:00:00"),
        ("2019:07:04 24:00:00", "2019-07-04T00:00:00"),
        ("2019:07:04 12:30:60", "2019-07-04T12:30:59"),
        ("2019-07", "2019-07-01T00:00:00"),
        ("2019", "2019-01-01T00:00:00"),
        ("2019:00:00 00:00:00", "2019-01-01T00:00:00"),
        ("1905:05:01 00:00:00", "1905-05-01T00:00:00"),
        ("1980:01:01 00:00:00", "1980-01-01T00:00:00"),  # a camera whose clock was never set: better than nothing
        ("Thu, 4 Jul 2019 12:30:05 +0200", "2019-07-04T12:30:05"),
        ("Thu Jul  4 12:30:05 2019", "2019-07-04T12:30:05"),
    ],
)
def test_dates(text: str, date: str) -> None:
    seconds = parse_date(text)
    assert seconds is not None
    assert local_time(seconds) == date


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "12:30", "2019:13:01 00:00:00", "2019:02:30", "99999999999999999999", "0001:01:01 00:00:00"),
        *("0000:00:00 00:00:00", "    :  :     :  :  ", "1970:01:01 00:00:00", "1970-01-01T01:00:00", "9999:99:99"),
        "1969:12:31 16:00:00",  # the same moment, west of Greenwich
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text) is None


@pytest.mark.usefixtures("tokyo")
def test_a_moment_in_utc_becomes_local_time() -> None:
    assert local_time(from_utc(1304665689) or 0) == "2011-05-06T16:08:09"


@pytest.mark.parametrize("seconds", [0, 1e300, -1e300, float("nan"), 2**63])
def test_absurd_moments(seconds: float) -> None:
    assert from_utc(seconds) is None
