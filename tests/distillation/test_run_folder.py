"""A run folder is begun once, resumed only as the same run, and repaired after a kill."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation.ckdh import CkdhSettings
from hashcli.distillation.run import train_hash_models
from hashcli.distillation.run_folder import RunExistsError, RunFolder, begin_run, resume_run
from hashcli.distillation.settings import Settings
from hashcli.distillation.soda import SodaSettings
from hashcli.distillation.training_loop import EpochReport
from hashcli.errors import HashcliError
from tests.distillation.runs import (
    Kept,
    resumed,
    save_as_version_0_1,
    short_settings,
    small_mirflickr,
    small_plan,
)

SETTINGS = CkdhSettings(method="ckdh", bits=(16, 32), hidden=16)


def facts(settings: Settings = SETTINGS, **changed: Any) -> dict[str, Any]:
    same = {"method_version": 1, "split": "s", "data": "d", "towers": {"teacher": "t"}, "updated": None}
    return {"config": settings.to_json()} | same | changed


def defaults(settings: Settings = SETTINGS) -> dict[str, Any]:
    return type(settings)(method=settings.method).to_json()


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    begin_run(tmp_path / "run", facts(), "{}")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(RunExistsError, match="run already holds a run"):
        begin_run(tmp_path / "run", facts(split="other"), "{}")
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert resume_run(tmp_path / "run", facts(), defaults()).name == "run"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (facts(replace(SETTINGS, bits=(16,), hidden=8)), "other settings (bits 16, 32, not 16; hidden 16, not 8)"),
        (facts(method_version=2), "another version of ckdh, which trains otherwise"),
        (facts(split="other"), "another split"),
        (facts(data="other"), "other data"),
        (facts(towers={"teacher": "other"}), "other teachers or students of these names"),
        (facts(updated="other"), "another model to update"),
    ],
)
def test_another_run_is_not_resumed(tmp_path: Path, now: dict[str, Any], said: str) -> None:
    begin_run(tmp_path, facts(), "{}")
    with pytest.raises(HashcliError) as raised:
        resume_run(tmp_path, now, defaults())
    assert raised.value.problem == f"{tmp_path} holds a run with {said}."
    assert "--" not in raised.value.remedy


def test_a_run_of_another_method_is_not_resumed(tmp_path: Path) -> None:
    begin_run(tmp_path, facts(), "{}")
    now = SodaSettings(method="soda", bits=(16, 32), hidden=16)
    with pytest.raises(HashcliError, match=r"other settings \(method ckdh, not soda\)"):
        resume_run(tmp_path, facts(now), defaults(now))


def test_a_run_from_before_a_setting_existed_has_its_default(tmp_path: Path) -> None:
    saved = facts()
    del saved["config"]["kappa"]
    begin_run(tmp_path, saved, "{}")
    resume_run(tmp_path, facts(), defaults())
    with pytest.raises(HashcliError, match=rf"other settings \(kappa {SETTINGS.kappa}, not 0.7\)"):
        resume_run(tmp_path, facts(replace(SETTINGS, kappa=0.7)), defaults())


def test_a_run_of_version_0_1_has_the_settings_of_all_methods(tmp_path: Path) -> None:
    begin_run(tmp_path, facts(), "{}")
    save_as_version_0_1(tmp_path)
    assert {"rounds", "prompt"} <= json.loads((tmp_path / "run.json").read_text())["config"].keys()
    resume_run(tmp_path, facts(), defaults())
    with pytest.raises(HashcliError, match=r"other settings \(hidden 16, not 8\)"):
        resume_run(tmp_path, facts(replace(SETTINGS, hidden=8)), defaults())


def test_a_run_from_before_methods_had_versions_is_of_the_first(tmp_path: Path) -> None:
    saved = facts()
    del saved["method_version"]
    begin_run(tmp_path, saved, "{}")
    resume_run(tmp_path, facts(), defaults())
    with pytest.raises(HashcliError, match="another version of ckdh, which trains otherwise"):
        resume_run(tmp_path, facts(method_version=2), defaults())


@pytest.mark.parametrize("cut", [0, 20])
def test_a_log_that_a_kill_cut_off_is_repaired_and_has_each_epoch_once(tmp_path: Path, cut: int) -> None:
    """Killed within a line, or after it and before the checkpoint."""
    epochs = [EpochReport("soda-teacher", number, 2, {"gap": 0.5}, {}, 1.0) for number in (1, 2)]
    lines = [json.dumps({"bits": 16, **asdict(epoch)}) + "\n" for epoch in epochs]
    log = tmp_path / "log.jsonl"
    log.write_text(lines[0] + lines[1][:cut])
    folder = RunFolder(tmp_path)
    for epoch in epochs:
        folder.log_epoch(16, epoch)
    assert log.read_text() == "".join(lines)
    folder.log_epoch(32, epochs[0])  # of another code length
    assert len(log.read_text().splitlines()) == 3


@pytest.fixture(scope="module")
def mirflickr(tmp_path_factory: pytest.TempPathFactory) -> ImageTextDataset:
    return small_mirflickr(tmp_path_factory.mktemp("mirflickr"))


@pytest.mark.parametrize("method", ["soda", "ckdh", "lcdh"])
def test_a_run_of_version_0_1_is_not_resumed(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    """All three methods train otherwise now."""
    plan = small_plan(mirflickr, short_settings(method, tiny_model, epochs=1), tmp_path)
    train_hash_models(plan, Kept())
    save_as_version_0_1(plan.out)
    with pytest.raises(HashcliError, match=f"another version of {method}"):
        train_hash_models(resumed(plan), Kept())
