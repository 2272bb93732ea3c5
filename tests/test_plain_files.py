"""Opening plain files."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from hashcli.plain_files import open_plain


def open_with_ctrl_c_at(step: int, path: Path) -> None:
    """Open a file, and interrupt that at one of its steps, as Ctrl-C does between two of Python's."""
    steps = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == step:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        file = open_plain(path)
    finally:
        sys.settrace(before)
    file.close()


def test_ctrl_c_while_a_file_is_being_opened_stays_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    step = 1
    while True:
        try:
            open_with_ctrl_c_at(step, path)
            break  # it was open before it came to that step
        except KeyboardInterrupt:
            step += 1
    assert step > 10


def test_a_folder_is_no_plain_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_plain(tmp_path)
