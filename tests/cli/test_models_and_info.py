"""hashcli models, hashcli info, and what every command shares."""

import re
import shutil
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hashcli.cli.console import print_table
from hashcli.hashmodel.description import read
from hashcli.hashmodel.registry import find_model
from hashcli.printable import human_size
from tests.conftest import PHOTOS, Run, json_rows, make_tiny_model
from tests.terminal import shown_in_terminal

COMMANDS = ["index", "search", "serve", "duplicates", "encode", "distill", "evaluate", "models", "info", "config"]


def test_the_model_that_ships_is_listed_and_whole(hashcli: Run) -> None:
    (row,) = json_rows(hashcli("models", "--json"))
    assert (row["name"], row["bits"]) == ("lite-256", 256)
    assert row["megabytes"] <= 50
    assert hashcli("models").stdout.startswith("lite-256\t256\t")
    shown = hashcli("info", "--model", "lite-256").stdout  # checks the digest of every file
    assert row["fingerprint"] in shown
    assert f"metrics      {len(row['metrics'])} measured: --json shows them\n" in shown


def test_a_model_is_shown_briefly_and_folded_between_words(tmp_path: Path, environment: dict[str, str]) -> None:
    shown = shown_in_terminal(["info", "--model", "lite-256"], tmp_path, environment)
    assert len(shown.splitlines()) <= 12
    assert max(len(line) for line in shown.splitlines() if not line.startswith("folder")) <= 80
    facts = read(find_model("lite-256"))
    unfolded = " ".join(shown.replace("\n", " ").split())
    assert f"method {facts.method} teacher {facts.teacher} licence" in unfolded


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
    assert abs(datetime.fromisoformat(facts["refreshed"]) - datetime.now().astimezone()) < timedelta(minutes=10)
    assert facts["roots"] == [str(photos)]
    assert facts["bytes"] > 0
    assert hashcli("search", "cat").stdout
    assert len(hashcli("encode", "--model", "own", "--text", "cat").stdout) == 64 // 4 + 1
    assert f"folder       {home}/own" in hashcli("info", "--model", "own").stdout


def test_an_index_is_shown_plainly(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    hashcli("index", photos / "trip", photos / "coins.png", "--index", "ix", "--model", tiny_model)
    (tmp_path / "other").mkdir()
    hashcli("index", "other", "--exclude", "*.gif", "--index", "ix")
    (facts,) = json_rows(hashcli("info", "--index", "ix", "--json"))
    shown = hashcli("info", "--index", "ix").stdout.splitlines()
    assert shown == [
        f"index        {tmp_path / 'ix'}",
        "photos       3",
        "texts        0",
        f"folders      {tmp_path / 'other'}",
        f"             {photos / 'trip'}",
        "left out     *.gif",
        f"model        {tiny_model} (64 bits, fingerprint {facts['fingerprint']})",
        f"size         {facts['bytes'] / 1000:.1f} kB",
        f"refreshed    {facts['refreshed'][:16].replace('T', ' ')}",
    ]
    with sqlite3.connect(tmp_path / "ix" / "catalog.sqlite") as db:
        db.execute("UPDATE items SET code = NULL WHERE id = 1")
        db.execute("DELETE FROM meta WHERE key = 'refreshed'")  # as an older hashcli left it
    shown = hashcli("info", "--index", "ix").stdout.splitlines()
    assert "waiting      1, known and not encoded yet: the next hashcli index does it" in shown
    assert not any(line.startswith("refreshed") for line in shown)


def test_sizes_of_all_indexes_are_for_people_in_a_terminal(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    hashcli("index", photos / "coins.png", "--name", "coins", "--model", tiny_model)
    (facts,) = json_rows(hashcli("info", "--all", "--json"))
    assert hashcli("info", "--all").stdout.split("\t")[3] == str(facts["bytes"])
    assert f" {human_size(facts['bytes'])} " in shown_in_terminal(["info", "--all"], tmp_path, environment)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (10**13, "10000.0 GB")],
)
def test_human_sizes(count: int, shown: str) -> None:
    assert human_size(count) == shown


def test_models_of_runs_and_of_indexes_are_listed(hashcli: Run, photos: Path, tmp_path: Path) -> None:
    """By the path that --model takes."""
    made = make_tiny_model(tmp_path / "runs" / "mine" / "model-64", seed=1)
    make_tiny_model(tmp_path / "runs" / "many" / "seed-0" / "model-64", seed=2)
    used = make_tiny_model(tmp_path / "elsewhere" / "model-64", seed=3)
    hashcli("index", photos / "coins.png", "--name", "coins", "--model", used)
    hashcli("index", photos / "coins.png", "--name", "more", "--model", made)
    rows = json_rows(hashcli("models", "--json"))
    names = ["lite-256", "runs/mine/model-64", "runs/many/seed-0/model-64", "elsewhere/model-64"]
    assert [row["name"] for row in rows] == names
    for name in names[1:]:
        assert json_rows(hashcli("info", "--model", name, "--json"))[0]["bits"] == 64
    (tmp_path / "away").mkdir()
    assert [row["name"] for row in json_rows(hashcli("models", "--json", cwd=tmp_path / "away"))] == [
        "lite-256",
        "../elsewhere/model-64",
        "../runs/mine/model-64",
    ]


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
    assert hashcli("-V").stdout == hashcli("--version").stdout
    assert hashcli("serach", status=2).stdout == ""
    assert "--tetx" in hashcli("search", "--tetx", "cat", status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", "5", "a cat"], "There is no option -n before a command.\nTo search: hashcli search -k 5 'a cat'\n"),
        (["--image=a.jpg"], "no option --image before a command.\nTo search: hashcli search --image=a.jpg\n"),
        (["a", "cat"], "There is no command 'a'.\nTo search: hashcli search a cat\n"),
        (["serach", "cat"], "There is no command 'serach'. Did you mean search?\nhashcli --help lists the commands.\n"),
        (["--nonsense"], "no option --nonsense before a command.\nhashcli --help lists the commands.\n"),
    ],
)
def test_who_leaves_the_command_out_is_told_what_to_type(hashcli: Run, arguments: list[str], said: str) -> None:
    assert hashcli(*arguments, status=2).stderr.endswith(said)
