"""Pictures in the terminal, as terminals of each kind are sent them."""

import base64
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashcli.hashmodel.images import load_thumbnail
from tests.conftest import SKIMAGE

pytest.importorskip("textual_image")

PHOTO = SKIMAGE / "chelsea.png"  # 451 x 300
CELL = (10, 20)  # pixels

IS_SIXEL = {b"\x1b[c": b"\x1b[?62;4;22c"}
IS_KITTY = {b"\x1b[c": b"\x1b[?62;22c", b"a=q": b"\x1b_Gi=1;OK\x1b\\"}
IS_PLAIN = {b"\x1b[c": b"\x1b[?62;22c"}
IS_SILENT: dict[bytes, bytes] = {}

PROGRAM = """
import sys
{before}
from hashcli.errors import HashcliError
from hashcli.index.results import SearchResult
from hashcli.show.thumbnails import can_print_pictures, print_results
try:
    print("able", can_print_pictures())
    print_results([SearchResult(n, "image", path, 60 + n, 256) for n, path in enumerate(sys.argv[1:], 1)])
except HashcliError as error:
    print(error.problem, error.remedy)
"""


def in_terminal(
    *paths: object,
    answers: dict[bytes, bytes],
    columns: int = 80,
    lines: int = 50,
    stdin_is_terminal: bool = True,
    before: str = "",
    environment: dict[str, str] | None = None,
) -> str:
    """Print pictures in a terminal of its own, which answers queries by `answers`. Returns what it was sent."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, columns * CELL[0], lines * CELL[1]))
    of_terminals = ("TERM", "COLORTERM", "NO_COLOR", "TERM_PROGRAM", "LC_TERMINAL", "TMUX", "COLUMNS", "LINES")
    kept = {key: value for key, value in os.environ.items() if key not in of_terminals}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(before=before), *map(str, paths)],
        stdin=theirs if stdin_is_terminal else subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | (environment or {}),
    )
    os.close(theirs)
    sent = asked = b""
    while True:
        assert select.select([ours], [], [], 60)[0], f"no end after {sent[-200:]!r}"
        try:
            some = os.read(ours, 1 << 16)
        except OSError:  # the other side is closed
            break
        sent += some
        asked += some
        while heard := [question for question in answers if question in asked]:
            first = min(heard, key=asked.index)
            os.write(ours, answers[first])
            asked = asked.partition(first)[2]
    os.close(ours)
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0
    return sent.decode().replace("\r\n", "\n")


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference of two pictures in grey levels, at the size of the second."""
    both = (np.asarray(image.convert("RGB").resize(b.size), dtype=int) for image in (a, b))
    return float(np.abs(next(both) - next(both)).mean())


def plain(sent: str) -> str:
    """What is sent without colours and links."""
    return re.sub(r"\x1b\[[\d;]*m|\x1b\]8;.*?\x1b\\", "", sent)


def cells(sent: str) -> Image.Image:
    """The picture that half blocks make: each cell is a pixel above in its colour and one below in its ground's."""
    colours = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m(▀+)", sent)
    rows = [line.count("▀") for line in sent.splitlines() if "▀" in line]
    pixels = [colour for *colour, run in colours for _ in run]
    assert len(pixels) == sum(rows) == len(rows) * rows[0]
    pairs = np.array(pixels, np.uint8).reshape(len(rows), rows[0], 2, 3)
    return Image.fromarray(pairs.transpose(0, 2, 1, 3).reshape(2 * len(rows), rows[0], 3))


@pytest.mark.parametrize("answers", [IS_PLAIN, IS_SILENT])
def test_half_blocks_draw_the_photo_where_the_terminal_can_do_no_more(answers: dict[bytes, bytes]) -> None:
    sent = in_terminal(PHOTO, answers=answers)
    drawn = cells(sent)
    assert (drawn.width, drawn.height) == (39, 26)  # two beside one another in 80 columns, at the photo's shape
    assert difference(load_thumbnail(PHOTO, 640), drawn) < 12
    assert "1  61 bits" in plain(sent)
    assert "\x1b]8;" in sent
    assert PHOTO.as_uri() in sent


def test_kitty_is_sent_the_photo_and_placeholders_for_it() -> None:
    sent = in_terminal(PHOTO, answers=IS_KITTY)
    png = b"".join(base64.b64decode(part) for part in re.findall(r"\x1b_Gi=\d+,m=[01],f=100,q=2;([^\x1b]+)\x1b", sent))
    placed = re.search(r"\x1b_Ga=p,i=\d+,c=(\d+),r=(\d+),U=1,q=2\x1b", sent)
    assert placed is not None
    columns, rows = map(int, placed.groups())
    assert sent.count("\U0010eeee") == columns * rows
    assert rows <= 10
    with Image.open(BytesIO(png)) as drawn:
        assert drawn.size == (columns * CELL[0], rows * CELL[1])
        assert drawn.width / drawn.height == pytest.approx(451 / 300, rel=0.1)
        assert difference(load_thumbnail(PHOTO, 640), drawn) < 12


def test_a_terminal_with_sixel_is_sent_sixels() -> None:
    sent = in_terminal(PHOTO, answers=IS_SIXEL)
    size = re.search(r'\x1bP[\d;]*q"1;1;(\d+);(\d+)', sent)
    assert size is not None
    width, height = map(int, size.groups())
    assert height <= 10 * CELL[1]
    assert width / height == pytest.approx(451 / 300, rel=0.1)
    assert "▀" not in sent


@pytest.mark.parametrize("environment", [{"TERM_PROGRAM": "iTerm.app"}, {"LC_TERMINAL": "iTerm2"}])
def test_iterm2_is_sent_the_photo_by_its_own_protocol_without_a_query(environment: dict[str, str]) -> None:
    sent = in_terminal(PHOTO, answers={}, environment=environment)
    assert "\x1b[c" not in sent
    drawn = re.search(r"\x1b]1337;File=inline=1;size=(\d+);width=(\d+);height=(\d+);\w+=0:([^\a]+)\a", sent)
    assert drawn is not None
    size, columns, rows, photo = (*map(int, drawn.groups()[:3]), base64.b64decode(drawn[4]))
    assert len(photo) == size
    assert columns * CELL[0] / (rows * CELL[1]) == pytest.approx(451 / 300, rel=0.1)
    with Image.open(BytesIO(photo)) as image:
        assert difference(load_thumbnail(PHOTO, 640), image) < 12


def test_tmux_inside_iterm2_is_not_sent_what_it_would_not_pass_on() -> None:
    environment = {"LC_TERMINAL": "iTerm2", "TMUX": "/tmp/tmux,1,0"}
    assert cells(in_terminal(PHOTO, answers=IS_PLAIN, environment=environment)).width == 39


def test_answers_stand_beside_one_another_in_their_order() -> None:
    sent = in_terminal(*[PHOTO] * 5, answers=IS_PLAIN, columns=120)
    lines = plain(sent).splitlines()
    assert [re.findall(r"(\d)  6\d bits", line) for line in lines if "bits" in line] == [
        ["1", "2", "3"],
        ["4", "5"],
    ]
    assert max(len(line) for line in lines if "▀" in line) <= 120


def test_a_photo_that_is_gone_or_damaged_is_replaced_by_words(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    sent = in_terminal(tmp_path / "gone.jpg", tmp_path / "bad.jpg", PHOTO, answers=IS_PLAIN)
    assert "(no longer there)" in sent
    assert "(cannot be shown)" in sent
    assert "▀" in sent


def test_a_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    name = tmp_path / "a\x1b]0;title\a\nb.png"
    name.write_bytes(PHOTO.read_bytes())
    sent = in_terminal(name, answers=IS_PLAIN)
    assert "\x1b]0;" not in sent
    assert "\\x1b]0;" in "".join(plain(sent).split())  # wherever the long path is folded


def test_with_stdin_from_elsewhere_the_terminal_is_not_queried() -> None:
    assert "▀" in (sent := in_terminal(PHOTO, answers=IS_SIXEL, stdin_is_terminal=False))
    assert "\x1b[c" not in sent
    assert "\U0010eeee" in in_terminal(
        PHOTO, answers=IS_KITTY, stdin_is_terminal=False, environment={"TERM": "xterm-kitty"}
    )


def test_no_color_takes_half_blocks_away_but_no_pictures() -> None:
    assert "able False" in (sent := in_terminal(PHOTO, answers=IS_PLAIN, environment={"NO_COLOR": "1"}))
    assert "▀" not in sent
    assert "1  61 bits" in plain(sent)
    assert "\U0010eeee" in in_terminal(PHOTO, answers=IS_KITTY, environment={"NO_COLOR": "1"})


@pytest.mark.parametrize(("term", "columns"), [("dumb", 80), ("xterm-256color", 0)])
def test_a_terminal_that_cannot_show_pictures_is_sent_none(term: str, columns: int) -> None:
    sent = in_terminal(PHOTO, answers={}, columns=columns, environment={"TERM": term})
    assert "able False" in sent
    assert "\x1b[c" not in sent
    assert "▀" not in sent


MISSING = "sys.modules['textual_image'] = None"


def test_a_pipe_is_sent_no_pictures_and_needs_no_library() -> None:
    command = [sys.executable, "-c", PROGRAM.format(before=MISSING), str(PHOTO)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("able False\n1  61 bits")
    assert "\x1b" not in done.stdout


def test_the_message_without_the_library_names_the_extra() -> None:
    assert "pip install '.[show]'" in in_terminal(PHOTO, answers={}, before=MISSING)
