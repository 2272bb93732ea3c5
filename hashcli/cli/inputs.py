"""What commands read besides their options: lists of paths and lines of text, also from stdin."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from hashcli.cli.console import stop_with
from hashcli.errors import did_you_mean_path, reason_of

_LARGEST = 1 << 30  # bytes that are read of texts: a device may never end


def with_stdin(paths: Iterable[str]) -> Iterator[str]:
    """The paths, with `-` standing for those on stdin, one per line or each ended by a zero byte."""
    for path in paths:
        if not path:
            stop_with("An empty path was given.", "Is a variable unset? Use . for the current folder.", status=2)
        if path != "-":
            yield path
            continue
        listed = sys.stdin.buffer.read()
        if b"\0" in listed:
            yield from (os.fsdecode(line) for line in listed.split(b"\0") if line.strip())
        else:
            yield from map(_listed, (line for line in listed.split(b"\n") if line.strip()))


def _listed(line: bytes) -> str:
    """The path in a line of a list. What Windows puts around it is taken off, unless a file really has that name."""
    if not os.path.lexists(line):
        line = line.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\r")
    return os.fsdecode(line)


def read_lines(source: str) -> list[str]:
    """The lines of a UTF-8 file, or of stdin for `-`. Ends the program when they cannot be read."""
    try:
        if source == "-":
            whole = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with Path(source).open("rb") as file:
                whole = file.read(_LARGEST + 1)
        if len(whole) > _LARGEST:
            stop_with(f"{'stdin' if source == '-' else source} has more than {_LARGEST >> 20} MB.", "Give it in parts.")
        lines = whole.decode("utf-8-sig").split("\n")
        return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
    except OSError as error:
        stop_with(
            f"{'stdin' if source == '-' else source} cannot be read: {reason_of(error)}.{did_you_mean_path(source)}"
        )
    except UnicodeDecodeError as error:
        stop_with(f"{source} is not UTF-8: {error.reason} at byte {error.start}.", "Convert it with iconv.")
