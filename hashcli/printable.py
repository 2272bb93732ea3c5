"""Texts, file names, times and sizes as they are shown."""


def printable(text: str) -> str:
    """The text with escapes for line ends, terminal controls, and bytes of a file name that are not UTF-8."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def human_size(count: int) -> str:
    """A number of bytes as people read it, such as 712 B, 70.5 kB or 1.2 GB."""
    if count < 1000:
        return f"{count} B"
    size, units = count / 1000, iter(("kB", "MB", "GB"))
    unit = next(units)
    while size >= 999.95 and (larger := next(units, None)):
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}"


def local_time(seconds: int) -> str:
    """Seconds since 1970 of a local time as the camera wrote it, such as 2024-05-14T18:03:00; the number itself if it
    is in no year from 1 to 9999."""
    from datetime import datetime, timedelta

    try:
        return (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return str(seconds)


def local_moment(seconds: int) -> str | None:
    """A moment, in seconds since 1970, by the local clock with its offset from UTC, such as 2024-05-14T18:03:00+02:00;
    None where the system knows no local time for it."""
    from datetime import datetime

    try:
        return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return None


def link_to(path: str) -> str:
    """The address of a file; of what is an address already, itself."""
    from pathlib import Path

    return path if "://" in path else Path(path).as_uri()
