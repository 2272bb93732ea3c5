"""Which index is meant: by folder, by name, by the environment, beside the photos, or the default one."""

import os
from pathlib import Path

import pytest

import hashcli
from hashcli.cli.remedies import index_command
from hashcli.errors import HashcliError
from hashcli.index.locations import ForeignIndexError, IndexLocation, IndexNameError, locate, named_indexes


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder of hashcli, and nothing chosen by the environment."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("HASHCLI_INDEX", raising=False)
    monkeypatch.setenv("HASHCLI_CONFIG", "")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "data" / "hashcli"


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "catalog.sqlite").touch()
    return folder


def test_without_any_it_is_the_default_one(data: Path) -> None:
    assert locate() == IndexLocation(data / "index", "default", was_found=True)
    assert locate(name="default") == IndexLocation(data / "index", "default")


def test_names(data: Path) -> None:
    assert locate(name="trip.2024").folder == data / "indexes" / "trip.2024"
    assert named_indexes() == {}
    for folder in (data / "indexes" / "b", data / "indexes" / "a", data / "index"):
        make(folder)
    (data / "indexes" / "empty").mkdir()
    assert list(named_indexes().items()) == [
        ("default", data / "index"),
        ("a", data / "indexes" / "a"),
        ("b", data / "indexes" / "b"),
    ]


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "-x", "a b", "x" * 65, "a\nb"])
def test_a_name_that_cannot_be_one(name: str) -> None:
    with pytest.raises(IndexNameError, match="cannot be the name"):
        locate(name=name)


def test_the_nearest_one_beside_the_photos_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / ".hashcli")
    assert locate() == IndexLocation(tmp_path / ".hashcli", was_found=True)
    nearer = make(tmp_path / "work" / ".hashcli")
    (tmp_path / "work" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "work" / "deep")
    assert locate().folder == nearer


def test_one_that_belongs_to_somebody_else_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / ".hashcli")
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(ForeignIndexError) as raised:
        locate()
    assert raised.value.index_folder == folder
    assert locate(folder).folder == folder


@pytest.mark.parametrize("name", ["images.faiss.tmp", "catalog.sqlite-wal", "lock", "catalog.sqlite"])
def test_one_with_links_or_pipes_in_it_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It may have come with an archive."""
    folder = make(tmp_path / ".hashcli")
    (folder / name).unlink(missing_ok=True)
    (tmp_path / "precious").touch()
    (folder / name).symlink_to(tmp_path / "precious")
    with pytest.raises(ForeignIndexError, match=rf"found rather than chosen, and {name} is a link"):
        locate()
    assert locate(folder).folder == folder  # named by the user, it is used
    if hasattr(os, "mkfifo"):
        (folder / name).unlink()
        make(tmp_path / "work" / ".hashcli")
        os.mkfifo(tmp_path / "work" / ".hashcli" / "pipe")
        with pytest.raises(ForeignIndexError, match="pipe is not a plain file"):
            locate()


def test_a_file_in_it_may_go_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of an update that is at work."""
    folder = make(tmp_path / ".hashcli")
    there = [*folder.iterdir(), folder / "images.faiss.tmp"]
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(there))
    assert locate().folder == folder


def test_a_folder_that_is_a_link_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / ".hashcli").symlink_to(make(tmp_path / "other"))
    with pytest.raises(ForeignIndexError, match="the index is a link"):
        locate()


def test_the_environment_comes_before_what_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "work" / ".hashcli")
    monkeypatch.setenv("HASHCLI_INDEX", "chosen")
    assert locate() == IndexLocation(tmp_path / "work" / "chosen")
    assert locate("other").folder == tmp_path / "work" / "other"
    with pytest.raises(HashcliError, match="work/chosen"):
        hashcli.open_index()
    monkeypatch.setenv("HASHCLI_INDEX", "")
    assert locate().folder == tmp_path / "work" / ".hashcli"


def test_the_config_file_comes_after_the_environment(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHCLI_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").write_text('name = "family"\n[search]\nk = 3\n')
    make(tmp_path / "work" / ".hashcli")
    assert locate() == IndexLocation(data / "indexes" / "family", "family")
    (tmp_path / "config.toml").write_text('index = "~/ix"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate().folder == tmp_path / "ix"
    monkeypatch.setenv("HASHCLI_INDEX", "chosen")
    assert locate().folder == tmp_path / "work" / "chosen"


@pytest.mark.parametrize("line", ["index = 5", "name = true"])
def test_a_config_file_that_chooses_no_text_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("HASHCLI_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").write_text(line)
    with pytest.raises(HashcliError, match=r"config\.toml: \w+ must be a text"):
        hashcli.open_index()


def test_a_folder_may_begin_at_home_and_be_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "work")
    assert locate("~/link/ix") == locate(tmp_path / "work" / "ix") == IndexLocation(tmp_path / "work" / "ix")
    for no_name in ("/", "."):
        with pytest.raises(HashcliError, match="is not the name of a folder"):
            locate(no_name)


def test_the_command_that_refreshes_an_index(data: Path, tmp_path: Path) -> None:
    make(data / "indexes" / "family")
    assert index_command(locate()) == "hashcli index"
    assert index_command(locate(name="family")) == "hashcli index --name family"
    assert index_command(locate(data / "indexes" / "family")) == "hashcli index --name family"
    assert index_command(locate(name="default")) == "hashcli index --name default"
    assert index_command(locate(tmp_path / "with space")) == f"hashcli index --index '{tmp_path}/with space'"
