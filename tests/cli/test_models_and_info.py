"""hashcli models, hashcli info, and what every command shares."""

import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from hashcli.cli.console import print_table
from tests.conftest import PHOTOS, Run, json_rows, make_tiny_model

COMMANDS = ["index", "search", "duplicates", "encode", "distill", "evaluate", "models", "info", "config"]


def test_the_model_that_ships_is_listed_and_whole(hashcli: Run) -> None:
    (row,) = json_rows(hashcli("models", "--json"))
    assert (row["name"], row["bits"]) == ("lite-256", 256)
    assert row["megabytes"] <= 45
    assert hashcli("models").stdout.startswith("lite-256\t256\t")
    shown = hashcli("info", "--model", "lite-256").stdout  # checks the digest of every file
    assert row["fingerprint"] in shown


def test_a_model_of_ones_own(hashcli: Run, photos: Path, tmp_path: Path, tiny_model: Path) -> None:
    """It is listed, and found, by the name of its folder, whatever its description calls it."""
    home = tmp_path / "data" / "hashcli" / "models"
    done = hashcli("models")
    assert done.stderr.splitlines() == [
        f"hashcli finds your own models in {home}",
        f"To add one: mkdir -p {home} && cp -r runs/mine/model-256 {home}/mine",
    ]
    shutil.copytree(tiny_model, home / "own")
    assert [row["name"] for row in json_rows(hashcli("models", "--json"))] == ["lite-256", "own"]
    done = hashcli("models")
    assert done.stdout.splitlines()[1].startswith("own\t64\t")
    assert f"in {home}\nTo add one: cp -r " in done.stderr
    hashcli("index", photos, "--model", "own")
    (facts,) = json_rows(hashcli("info", "--json"))
    assert facts["index"] == str(tmp_path / "data" / "hashcli" / "index")
    assert (facts["photos"], facts["texts"], facts["model"], facts["bits"]) == (len(PHOTOS), 0, "own", 64)
    assert facts["roots"] == [str(photos)]
    assert facts["bytes"] > 0
    assert hashcli("search", "cat").stdout
    assert len(hashcli("encode", "--model", "own", "--text", "cat").stdout) == 64 // 4 + 1
    assert f"folder       {home}/own" in hashcli("info", "--model", "own").stdout


def test_a_name_that_ships_is_not_overridden(hashcli: Run, tmp_path: Path) -> None:
    own = make_tiny_model(tmp_path / "data" / "hashcli" / "models" / "lite-256", seed=3)
    done = hashcli("models", "--json")
    assert [row["bits"] for row in json_rows(done)] == [256]
    assert f"{own} has the name of a model that comes with hashcli" in done.stderr


def test_folders_are_shown_in_full(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """However narrow the terminal is."""
    folder = "/home/somebody/.local/share/hashcli/models/" + "pictures" * 8
    monkeypatch.setenv("COLUMNS", "80")
    print_table(("name", "bits", "megabytes", "folder"), [["pictures", "256", "120.5", folder]])
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    start = lines[0].index("folder")
    assert "".join(line[start:].strip() for line in lines[2:]) == folder


def test_an_index_is_checked_and_mended(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    hashcli("index", photos, "--model", tiny_model, "--index", "ix")
    (facts,) = json_rows(hashcli("info", "--check", "--index", "ix", "--json"))
    assert facts["check"] == "nothing is damaged"
    content = bytearray((tmp_path / "ix" / "images.ids.npy").read_bytes())
    content[130] ^= 1
    (tmp_path / "ix" / "images.ids.npy").write_bytes(content)
    assert (
        f"hashcli index --index {tmp_path / 'ix'} makes them anew"
        in hashcli("info", "--check", "--index", "ix", status=1).stderr
    )
    hashcli("index", "--index", "ix")
    with sqlite3.connect(tmp_path / "ix" / "catalog.sqlite") as db:
        db.execute("UPDATE items SET path = path || 'x' WHERE id = 1")
    shown = hashcli("info", "--check", "--index", "ix", status=1).stderr
    assert "1 entry of" in shown
    assert "drops them and reads their files again" in shown
    assert "1 damaged entry of the index dropped" in hashcli("index", "--index", "ix").stderr
    hashcli("info", "--check", "--index", "ix")


def test_a_broken_model_is_named_and_skipped(hashcli: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "hashcli" / "models" / "broken"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    done = hashcli("models", "--json")
    assert [row["name"] for row in json_rows(done)] == ["lite-256"]
    assert f"skipped {folder}" in done.stderr
    assert "is damaged" in hashcli("info", "--model", "broken", status=1).stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(hashcli: Run, command: str) -> None:
    shown = hashcli(command, "--help").stdout
    assert "Examples:" in shown
    assert f"hashcli {command}" in shown


def test_every_command_is_tested_here(hashcli: Run) -> None:
    listed = hashcli("--help").stdout.partition("Commands:")[2]
    assert re.findall(r"^  (\w+) ", listed, re.MULTILINE) == COMMANDS


def test_version_and_wrong_usage(hashcli: Run) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", hashcli("--version").stdout)
    assert hashcli("serach", status=2).stdout == ""
    assert "--tetx" in hashcli("search", "--tetx", "cat", status=2).stderr
