"""The config file, and hashcli config."""

import tomllib
from pathlib import Path

import pytest

from tests.conftest import PHOTOS, Run, json_rows


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where the config file is looked for."""
    path = tmp_path / "config" / "hashcli" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def index(hashcli: Run, photos: Path, tiny_model: Path) -> str:
    hashcli("index", photos, "--name", "mine", "--model", tiny_model)
    return "mine"


def count(hashcli: Run, *arguments: object, **more: str) -> int:
    return len(hashcli("search", "cat", *arguments, **more).stdout.splitlines())


def test_it_gives_defaults_and_the_command_line_overrides_them(hashcli: Run, index: str, config: Path) -> None:
    config.write_text('name = "mine"\n[search]\nk = 2\n')
    assert count(hashcli) == 2
    assert count(hashcli, "-k", "3") == 3
    (facts,) = json_rows(hashcli("info", "--json"))
    assert facts["photos"] == len(PHOTOS)
    assert "There is no index" in hashcli("info", "--name", "default", status=1).stderr
    assert "There is no index" in hashcli("info", "--index", "other", status=1).stderr  # no conflict with the file's
    assert "There is no index" in hashcli("info", status=1, HASHCLI_INDEX="other").stderr


def test_a_table_overrides_the_top_of_the_file(hashcli: Run, index: str, config: Path) -> None:
    config.write_text('name = "none"\nquiet = true\n[search]\nname = "mine"\nquiet = false\n')
    assert count(hashcli)
    assert hashcli("index", "--name", "mine").stderr == ""
    assert "Read" not in hashcli("index", "--name", "mine", "--verbose").stdout


def test_lists_paths_and_flags(hashcli: Run, index: str, config: Path, tmp_path: Path) -> None:
    config.write_text('log = "~/message.log"\n[search]\ntext = ["cat", "dog"]\njson = true\nname = "mine"\n')
    (tmp_path / "home").mkdir()
    assert json_rows(hashcli("search"))[0]["rank"] == 1
    assert "command: hashcli search" in (tmp_path / "home" / "message.log").read_text()
    assert hashcli("search", "--paths").stdout.startswith("/")  # the file's json is put aside


def test_another_file_and_none(hashcli: Run, index: str, config: Path, tmp_path: Path) -> None:
    config.write_text('[search]\nname = "mine"\nk = 2\n')
    (tmp_path / "other.toml").write_text('[search]\nname = "mine"\nk = 3\n')
    assert count(hashcli, HASHCLI_CONFIG=str(tmp_path / "other.toml")) == 3
    assert count(hashcli, "--name", "mine", HASHCLI_CONFIG="") == 10
    assert "none.toml cannot be read" in hashcli("info", status=2, HASHCLI_CONFIG="none.toml").stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("serch = 2", "no command has the option 'serch'. Did you mean search?"),
        ("nam = 'x'", "no command has the option 'nam'. Did you mean name?"),
        ("[serach]\nk = 2", "there is no command 'serach'. Did you mean search?"),
        ("[search]\nindx = 'x'", "hashcli search has no option 'indx'. Did you mean index?"),
        ("[search]\nwords = 'x'", "hashcli search has no option 'words'."),
        ("[search]\nk = '2'", '[search] k must be a whole number, not "2"'),
        ("[search]\nk = true", "[search] k must be a whole number, not true"),
        ("[search]\nk = 2.5", "[search] k must be a whole number, not 2.5"),
        ("[search]\nk = 0", "[search] k: 0 is not in the range"),
        ("[search]\njson = 1", "[search] json must be true or false, not 1"),
        ("[search]\ntext = 'cat'", "[search] text must be a list"),
        ("log = ['x']", "log must be one value"),
        ("index = 3", 'index must be a string in " ", not 3'),
        ("[search\n", "is not TOML: "),
        ("k = \xff", "is not TOML: "),
    ],
)
def test_what_is_not_understood_is_named(hashcli: Run, config: Path, content: str, message: str) -> None:
    config.write_bytes(content.encode("latin-1"))
    for command in ("info", "search"):
        done = hashcli(command, status=2)
        assert message in done.stderr
        assert str(config) in done.stderr
        assert done.stdout == ""
    assert "Usage" in hashcli("search", "--help").stdout  # which one may need just then


def test_hashcli_config_shows_where_and_what(hashcli: Run, config: Path) -> None:
    done = hashcli("config")
    assert done.stdout == f"# {config}\n"
    assert "does not exist" in done.stderr
    text = 'name = "mine"  # the usual one\n\n[search]\nk = 2\ntext = ["a"]\n'
    config.write_text(text)
    printed = hashcli("config").stdout
    assert printed == f"# {config}\n{text}"
    assert tomllib.loads(printed) == tomllib.loads(text)
    (row,) = json_rows(hashcli("config", "--json"))
    assert row == {
        "file": str(config),
        "exists": True,
        "settings": {"name": "mine", "search": {"k": 2, "text": ["a"]}},
    }
    config.write_text("nam = 1")
    assert "Did you mean name?" in hashcli("config", status=2).stderr
    assert "HASHCLI_CONFIG is empty" in hashcli("config", HASHCLI_CONFIG="").stderr


def test_the_table_of_the_index_command_is_not_the_option_of_that_name(
    hashcli: Run, photos: Path, tiny_model: Path, config: Path
) -> None:
    config.write_text("[search]\nk = 2\n\n[index]\nhidden = true\n")
    hashcli("index", photos, "--model", tiny_model)
    assert count(hashcli) == 2
    for command in ("index", "info", "duplicates"):
        hashcli(command)
