"""hashcli search -i, as a person uses it: the real command in a terminal, with keys pressed and the screen read."""

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("textual_image")

from hashcli.hashmodel.images import load_thumbnail
from tests.conftest import PHOTOS, SKIMAGE, Run
from tests.terminal import CELL, PATIENT_HASHCLI, Screen

IS_KITTY = {b"\x1b[c": b"\x1b[?62;22c", b"a=q": b"\x1b_Gi=1;OK\x1b\\"}
IS_SIXEL = {b"\x1b[c": b"\x1b[?62;4;22c"}
IS_PLAIN = {b"\x1b[c": b"\x1b[?62;22c"}

RIGHT, DOWN, ESCAPE, ENTER, CTRL_C = "\x1b[C", "\x1b[B", "\x1b", "\r", "\x03"


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen photos, indexed into `.hashcli`. Not to be changed."""
    home = tmp_path_factory.mktemp("album")
    for name in PHOTOS:
        shutil.copy(SKIMAGE / name, home / name)
    index(home)
    return home


def index(home: Path) -> None:
    command = [sys.executable, "-m", "hashcli", "index", str(home), "--index", str(home / ".hashcli"), "--quiet"]
    subprocess.run(command, check=True)


@pytest.fixture
def start(environment: dict[str, str], album: Path) -> Any:
    """Start the command with some arguments in a terminal."""

    def in_terminal(*arguments: object, cwd: Path = album, **more: Any) -> Screen:
        own = environment | more.pop("environment", {})
        more.setdefault("answers", IS_PLAIN)
        return Screen(["search", "-i", *arguments], cwd, own, **more)

    return in_terminal


def paths(album: Path, hashcli: Run, *arguments: object) -> list[str]:
    """What the same search prints without -i."""
    return hashcli("search", "--paths", *arguments, "--index", album / ".hashcli").stdout.splitlines()


def names_of(paths: list[str]) -> list[str]:
    return [os.path.basename(path) for path in paths]


def half_blocks(screen: Screen, row: int, columns: range) -> Image.Image | None:
    """The picture that half blocks draw between some columns, from a row of the screen on; None if it is not whole."""
    rows = []
    for line in screen.cells[row:]:
        cells = [cell for cell in line[columns.start : columns.stop] if cell.data == "▀"]
        if not cells:
            break
        rows += [[bytes.fromhex(cell.fg) for cell in cells], [bytes.fromhex(cell.bg) for cell in cells]]
    if len({len(pixels) for pixels in rows}) != 1:
        return None
    return Image.fromarray(np.array([[tuple(pixel) for pixel in row] for row in rows], np.uint8))


def is_first(screen: Screen, name: str) -> bool:
    """Whether the first result is under the cursor, and is the photo of this name."""
    return re.search(rf"\b1 of \d+   .*\b{re.escape(name)}$", screen.text, re.MULTILINE) is not None


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference of two pictures in grey levels, at the size of the second."""
    both = (np.asarray(image.convert("RGB").resize(b.size), dtype=int) for image in (a, b))
    return float(np.abs(next(both) - next(both)).mean())


def test_what_is_typed_is_found_chosen_and_printed_in_a_pipe(start: Any, album: Path) -> None:
    with start() as screen:
        screen.wait_for("What are you looking for?")
        screen.press("a cup of coff")
        screen.press("ee")
        screen.wait_for("> a cup of coffee")
        screen.wait_for(lambda: is_first(screen, "coffee.png"))
        screen.press(ENTER + " ")
        screen.wait_for("1 selected")
        screen.wait_for("✓ coffee.png")
        screen.press("/" + "\x7f" * 20)
        screen.paste("stars and galaxies")
        screen.wait_for(lambda: is_first(screen, "hubble_deep_field.jpg"))
        screen.press(DOWN + " ")
        screen.wait_for("2 selected")
        done = screen.leave("y")
    assert done == (0, f"{album}/coffee.png\n{album}/hubble_deep_field.jpg\n".encode(), "")


def shows(screen: Screen, photo: Image.Image, columns: range) -> bool:
    """Whether half blocks draw this photo between some columns in the first row of pictures."""
    drawn = half_blocks(screen, 1, columns)
    return drawn is not None and abs(drawn.width / drawn.height - 1.5) < 0.15 and difference(photo, drawn) < 15


def test_half_blocks_show_the_photos(start: Any, album: Path) -> None:
    with start("a cat", "--all") as screen:
        screen.wait_for("1 of 12")
        for name, columns in (("chelsea.png", range(26)), ("motorcycle_left.png", range(54, 80))):
            screen.wait_for(partial(shows, screen, load_thumbnail(album / name, 640), columns))
            assert screen.lines[9][columns.start :].startswith(name)
        assert screen.leave(RIGHT + "q") == (1, b"", "")


def test_kitty_is_sent_each_photo_once_though_stdout_is_a_pipe(start: Any, album: Path) -> None:
    with start("a cat", "--all", answers=IS_KITTY) as screen:
        screen.wait_for("1 of 12")
        screen.wait_for(lambda: len(kitty_pictures(screen.graphics)) == 6 and first_kitty_picture(screen) is not None)
        size, picture = first_kitty_picture(screen)
        assert (picture.width, picture.height) == (size[0] * CELL[0], size[1] * CELL[1])
        assert difference(load_thumbnail(album / "chelsea.png", 640), picture) < 12
        screen.press(RIGHT + " ")
        screen.wait_for("1 selected")
        screen.press("/")
        screen.wait_for("to the pictures")
        screen.settle()
        assert len(kitty_pictures(screen.graphics)) == 6  # as many as are on the page, and each once
        screen.press(DOWN)
        assert screen.leave("y")[0] == 0


def kitty_pictures(commands: Sequence[bytes]) -> dict[int, tuple[tuple[int, int], Image.Image]]:
    """The pictures that were sent and placed, by the lower 24 bits of their number, with their sizes in cells."""
    sent: dict[int, bytes] = {}
    pictures: dict[int, tuple[tuple[int, int], Image.Image]] = {}
    for command in commands:
        if part := re.fullmatch(rb"i=(\d+),m=[01],f=100,q=2;(.*)", command):
            sent[int(part[1])] = sent.get(int(part[1]), b"") + part[2]
        if placed := re.fullmatch(rb"a=p,i=(\d+),c=(\d+),r=(\d+),U=1,q=2", command):
            number, columns, rows = map(int, placed.groups())
            pictures[number & 0xFFFFFF] = (columns, rows), Image.open(BytesIO(base64.b64decode(sent[number])))
    return pictures


def first_kitty_picture(screen: Screen) -> Any:
    """The size in cells and the picture of the first result; None while it is not drawn."""
    colour = screen.cells[1][1].fg
    return kitty_pictures(screen.graphics).get(int(colour, 16)) if re.fullmatch("[0-9a-f]{6}", colour) else None


def test_a_terminal_with_sixel_is_sent_sixels(start: Any) -> None:
    with start("a cat", answers=IS_SIXEL) as screen:
        screen.wait_for(lambda: b'\x1bP0;0;0q"1;1;240;160' in screen.received)
        assert "▀" not in screen.text
        assert screen.leave("q")[0] == 1


def test_answers_that_come_late_as_over_ssh_are_waited_for(start: Any) -> None:
    """Later than textual-image would wait."""
    with start("a cat", answers=IS_KITTY, delay=0.5) as screen:
        screen.wait_for("1 of ")
        screen.wait_for(lambda: len(kitty_pictures(screen.graphics)) > 0)
        assert screen.lines[0] == "> a cat"  # and nothing behind it
        assert screen.leave("q")[0] == 1


def test_a_terminal_that_answers_nothing_is_drawn_on_in_half_blocks(start: Any) -> None:
    with start("a cat", answers={}) as screen:
        screen.wait_for("▀")
        assert screen.leave("q")[0] == 1


def test_without_colours_there_are_names_but_no_half_blocks(start: Any) -> None:
    with start("a cat", "--all", environment={"NO_COLOR": "1"}) as screen:
        screen.wait_for(lambda: all(name in screen.text for name in PHOTOS))
        screen.wait_for(lambda: [cell.data for cell in screen.cells[1] if cell.reverse] == list("chelsea.png"))
        screen.settle()
        assert "▀" not in screen.text
        assert all(cell.fg == cell.bg == "default" for line in screen.cells[1:] for cell in line)
        assert screen.leave("q")[0] == 1


@pytest.mark.parametrize("colours", [{"NO_COLOR": "1"}, {"COLORTERM": "", "TERM": "xterm"}])
def test_kitty_shows_pictures_whatever_is_said_of_colours(start: Any, colours: dict[str, str]) -> None:
    with start("a cat", answers=IS_KITTY, environment=colours) as screen:
        screen.wait_for(lambda: first_kitty_picture(screen) is not None)
        assert screen.leave("q")[0] == 1


def test_the_keys_come_from_the_terminal_where_stdin_is_a_pipe(start: Any, album: Path) -> None:
    with start("a cat", stdin=b"something else\nq\n") as screen:
        screen.wait_for("1 of ")
        assert screen.leave("y") == (0, f"{album}/chelsea.png\n".encode(), "")


@pytest.mark.parametrize("script", ['cp $("$@") chosen/', '"$@" -0 | xargs -0 -I {} cp {} chosen/'])
def test_a_script_copies_what_was_chosen(start: Any, album: Path, tmp_path: Path, script: str) -> None:
    (tmp_path / "chosen").mkdir()
    program = ("sh", "-c", script, "sh", *PATIENT_HASHCLI)
    with start("a cat", "--all", "--index", album / ".hashcli", cwd=tmp_path, program=program) as screen:
        screen.wait_for("1 of 12")
        assert screen.leave(" " + RIGHT + RIGHT + " " + "y")[0] == 0
    assert sorted(os.listdir(tmp_path / "chosen")) == ["chelsea.png", "motorcycle_left.png"]


def test_paths_are_printed_also_where_stdout_is_the_terminal(start: Any, album: Path) -> None:
    with start("a cat", is_piped=False) as screen:
        screen.wait_for("1 of ")
        assert screen.leave("y")[0] == 0
        assert f"{album}/chelsea.png" in screen.received.decode().rpartition("\x1b[?1049l")[2]


@pytest.mark.parametrize(("keys", "status"), [(ESCAPE, 1), ("q", 1), (CTRL_C, 130)])
def test_leaving_without_choosing_prints_nothing(start: Any, keys: str, status: int) -> None:
    with start("a cat") as screen:
        screen.wait_for("1 of ")
        assert screen.leave(" " + keys) == (status, b"", "")
        assert screen.is_restored()


def test_enter_opens_the_photo_and_what_its_viewer_prints_is_not_taken_for_a_path(
    start: Any, album: Path, tmp_path: Path
) -> None:
    viewer = tmp_path / "viewer"
    viewer.write_text(f'#!/bin/sh\necho "looking at it"\necho "$1" > {tmp_path}/opened\nsleep 300\n')
    viewer.chmod(0o755)
    with start("a cat", environment={"BROWSER": f"{viewer} %s"}) as screen:
        screen.wait_for("1 of ")
        screen.press(ENTER)
        screen.wait_for(lambda: (tmp_path / "opened").exists() and (tmp_path / "opened").read_text().endswith("\n"))
        done = screen.leave("y")
    assert (tmp_path / "opened").read_text().strip() == (album / "chelsea.png").as_uri()
    assert done == (0, f"{album}/chelsea.png\n".encode(), "")


def test_the_page_follows_the_size_of_the_terminal(start: Any) -> None:
    with start("a cat", "--all", size=(40, 20), environment={"COLUMNS": "70"}) as screen:
        screen.wait_for("1 of 12")
        screen.wait_for(lambda: sum(name in "\n".join(screen.lines[:-4]) for name in PHOTOS) == 1)
        screen.resize(130, 40)
        screen.wait_for(lambda: sum(name in screen.text for name in PHOTOS) == 12)
        screen.press("+")
        screen.wait_for(lambda: sum(name in screen.text for name in PHOTOS) == 6)
        screen.resize(12, 6)
        screen.settle()
        screen.press("\x1b[B" * 20)
        screen.settle()
        assert screen.leave("q")[0] == 1


def test_all_that_limits_a_search_holds_in_the_grid(start: Any, album: Path, hashcli: Run) -> None:
    for arguments in (
        ["a cat", "--type", "jpg", "--all"],
        ["a cat", "-k", 2, "--sort", "date", "--all"],
        ["--text", "2:stars", "a cat", "--not", "coffee", "--within", 60, "-k", 5],
    ):
        with start(*arguments) as screen:
            expected = paths(album, hashcli, *arguments)
            screen.wait_for(f"1 of {len(expected)}")
            output = screen.leave((" " + RIGHT) * len(expected) + "y")[1]
            assert output.decode().splitlines() == expected


def test_a_photo_is_searched_by_alone_and_with_words(start: Any, album: Path, hashcli: Run) -> None:
    with start("coins.png") as screen:
        screen.wait_for("> coins.png + ")
        screen.wait_for("coins.png\n")
        expected = paths(album, hashcli, album / "coins.png", "--text", "a cat")
        by_photo = paths(album, hashcli, album / "coins.png")
        assert expected[:3] != by_photo[:3]
        screen.press("/")
        screen.paste("a cat")
        screen.wait_for(lambda: re.findall(r"\S+\.(?:png|jpg)", screen.lines[9]) == names_of(expected[:3]))
        output = screen.leave(DOWN + (" " + RIGHT) * 3 + "y")[1]
    assert output.decode().splitlines() == expected[:3]


def test_texts_are_found_with_their_photos(start: Any, tmp_path: Path) -> None:
    shutil.copy(SKIMAGE / "chelsea.png", tmp_path / "chelsea.png")
    (tmp_path / "chelsea.txt").write_text("a cat [b]looks\n")
    (tmp_path / "ideas.txt").write_text("footprints on the moon\n")
    index(tmp_path)
    subprocess.run(
        [sys.executable, "-m", "hashcli", "index", "ideas.txt", "--index", ".hashcli", "-q"], cwd=tmp_path, check=True
    )
    with start("a cat", "--for", "texts", cwd=tmp_path) as screen:
        screen.wait_for("a cat [b]looks ")
        screen.wait_for("footprints on the moon")
        screen.wait_for("▀")
        assert screen.leave("y")[1].decode() == f"{tmp_path}/chelsea.txt\n"


def test_more_like_this(start: Any, album: Path, hashcli: Run) -> None:
    with start("a cat") as screen:
        screen.wait_for("1 of ")
        screen.press("m")
        screen.wait_for("> like chelsea.png + ")
        expected = paths(album, hashcli, album / "chelsea.png")
        screen.wait_for(f"1 of {len(paths(album, hashcli, album / 'chelsea.png', '-k', 100))}")
        assert screen.leave((" " + RIGHT) * 3 + "y")[1].decode().splitlines() == expected[:3]


def test_hostile_names_are_shown_as_text_and_printed_as_they_are(start: Any, tmp_path: Path) -> None:
    names = [b"[red]a.png", b"b\x1b]0;title\x07.png", b"c\nd.png", b"e\xff.png", "[b]ü 写真\u202e.png".encode()]
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, name in enumerate(names):
        picture = Image.open(SKIMAGE / "chelsea.png").crop((number, 0, 400 + number, 300))
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            picture.save(file, "PNG")
    index(folder)
    with start("a cat", "-0", "--all", "--sort", "date", cwd=folder) as screen:
        screen.wait_for("1 of 5")
        for shown in ("[red]a.png", "b\\x1b]0;title\\x07.png", "c\\nd.png", "e\\udcff.png", "[b]ü 写真"):
            screen.wait_for(lambda shown=shown: shown in screen.text.replace("写 真 ", "写真"))
        assert b"\x1b]0;" not in screen.received
        status, output, _ = screen.leave((" " + RIGHT) * 5 + "y")
    assert status == 0
    assert sorted(output.split(b"\0")) == sorted([b"", *(os.fsencode(folder) + b"/" + name for name in names)])


@pytest.mark.parametrize("answers", [IS_PLAIN, IS_KITTY, IS_SIXEL])
def test_photos_that_are_gone_or_broken_show_words_and_end_nothing(
    start: Any, tmp_path: Path, answers: dict[bytes, bytes]
) -> None:
    for name in ("chelsea.png", "coffee.png", "coins.png"):
        shutil.copy(SKIMAGE / name, tmp_path / name)
    Image.new("RGB", (3000, 1), "red").save(tmp_path / "line.png")
    Image.new("RGB", (1, 3000), "red").save(tmp_path / "upright.png")
    index(tmp_path)
    (tmp_path / "chelsea.png").unlink()
    (tmp_path / "coffee.png").write_bytes(b"no picture any more")
    with start("a cat", "--all", cwd=tmp_path, answers=answers) as screen:
        screen.wait_for("(no longer there)")
        screen.wait_for("(cannot be shown)")
        screen.wait_for("line.png")
        screen.wait_for("upright.png")
        screen.wait_for("chelsea.png")
        screen.settle()
        status, output, _ = screen.leave((" " + RIGHT) * 5 + "y")
    assert status == 0
    expected = ["coffee.png", "coins.png", "line.png", "upright.png"]
    assert sorted(output.decode().splitlines()) == [f"{tmp_path}/{name}" for name in expected]


def test_photos_that_are_indexed_meanwhile_are_found_by_the_next_search(start: Any, tmp_path: Path) -> None:
    shutil.copy(SKIMAGE / "coffee.png", tmp_path / "coffee.png")
    index(tmp_path)
    with start("a cat", "--all", cwd=tmp_path) as screen:
        screen.wait_for("1 of 1")
        shutil.copy(SKIMAGE / "chelsea.png", tmp_path / "chelsea.png")
        index(tmp_path)
        screen.press("/s")
        screen.wait_for("chelsea.png")
        screen.wait_for("1 of 2")
        assert screen.leave(ESCAPE)[0] == 1


def test_what_makes_a_grid_impossible_is_said_before_it_opens(start: Any, hashcli_process: Run, album: Path) -> None:
    for arguments, environment, message in (
        (["a cat"], {"TERM": "dumb"}, "TERM is 'dumb'"),
        (["a cat", "--json"], {}, "cannot be combined"),
        (["a cat", "--index", "nowhere"], {}, "nowhere"),
        (["--image", "missing.jpg"], {}, "missing.jpg"),
    ):
        with start(*arguments, environment=environment) as screen:
            status, output, errors = screen.leave()
            assert status in (1, 2)
            assert message in errors
            assert not output
            assert not screen.received
    done = subprocess.run(
        [sys.executable, "-m", "hashcli", "search", "-i", "a cat"],
        cwd=album,
        env=os.environ | {"TERM": "xterm"},
        start_new_session=True,  # without a terminal
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs a terminal" in done.stderr


@pytest.mark.parametrize("missing", ["textual", "textual_image"])
def test_the_message_without_the_extra_names_it(start: Any, tmp_path: Path, missing: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules['{missing}'] = None\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with start("a cat", environment={"PYTHONPATH": path}) as screen:
        status, output, errors = screen.leave()
    assert (status, output) == (1, b"")
    assert "pip install '.[show]'" in errors
