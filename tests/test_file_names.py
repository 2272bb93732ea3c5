"""Names whose Unicode form is not the one that was typed."""

import os
from pathlib import Path

import pytest

from hashcli.file_names import as_on_disk

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.fixture(autouse=True)
def _only_if_both_forms_can_exist(tmp_path: Path) -> None:
    (tmp_path / NFC).mkdir()
    found = (tmp_path / NFD).exists()
    (tmp_path / NFC).rmdir()
    if found:
        pytest.skip("this file system takes both forms for one name")


@pytest.mark.parametrize(("on_disk", "typed"), [(NFC, NFD), (NFD, NFC)])
def test_the_form_on_disk_is_found(tmp_path: Path, on_disk: str, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / on_disk).mkdir()
    (tmp_path / on_disk / f"{on_disk}.jpg").touch()
    assert as_on_disk(f"{tmp_path}/{typed}/{typed}.jpg") == f"{tmp_path}/{on_disk}/{on_disk}.jpg"
    assert as_on_disk(f"{tmp_path}/{typed}/{on_disk}.jpg") == f"{tmp_path}/{on_disk}/{on_disk}.jpg"
    monkeypatch.chdir(tmp_path)
    assert as_on_disk(f"{typed}/{typed}.jpg") == os.path.join(on_disk, f"{on_disk}.jpg")
    assert as_on_disk(typed) == on_disk


def test_a_name_that_is_there_or_nowhere_stays_as_it_is(tmp_path: Path) -> None:
    for name in (NFC, NFD):
        (tmp_path / name).mkdir()
        assert as_on_disk(str(tmp_path / name)) == str(tmp_path / name)
    assert as_on_disk(str(tmp_path / NFC / f"{NFD}.jpg")) == str(tmp_path / NFC / f"{NFD}.jpg")
