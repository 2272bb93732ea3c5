"""The method of CONTRIBUTING.md: one file and one line in the registry, trained in the same way as the others."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation.registry import METHODS
from hashcli.distillation.resolve import describe_settings, resolve_settings
from hashcli.distillation.run import train_hash_models
from hashcli.errors import HashcliError
from hashcli.hashmodel.model import HashModel
from tests.conftest import Run
from tests.distillation.planted import (
    make_trainer,
    make_training_set,
    mean_average_precisions,
    train,
)
from tests.distillation.runs import Kept, resumed, short_settings, small_mirflickr, small_plan, update_plan

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def mirflickr(tmp_path_factory: pytest.TempPathFactory) -> ImageTextDataset:
    return small_mirflickr(tmp_path_factory.mktemp("mirflickr"))


@pytest.fixture(autouse=True)
def triplet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's file, as a module outside the package, and the page's line in the registry."""
    section = PAGE.read_text(encoding="utf-8").partition("## Add a method")[2].partition("\n## ")[0]
    file, line = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    name, module = re.fullmatch(r'    "(\w+)": "hashcli\.distillation\.(\w+)",\n', line).groups()  # type: ignore[union-attr]
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{module}.py").write_text(file)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setitem(METHODS, name, module)
    yield
    sys.modules.pop(module, None)


def test_it_learns() -> None:
    query, database = make_training_set(100, seed=2), make_training_set(300, seed=3)
    trained = mean_average_precisions(train(make_trainer("triplet", make_training_set(400, seed=1))), query, database)
    for value, chance in trained.values():
        assert value > chance + 0.2


def test_it_is_trained_resumed_exported_and_updated(
    mirflickr: ImageTextDataset, tiny_model: Path, tmp_path: Path
) -> None:
    plan = small_plan(mirflickr, short_settings("triplet", tiny_model, margin=0.3), tmp_path)
    rows = train_hash_models(plan, Kept())
    assert {row["of"] for row in rows} == {"validation", "triplet"}
    assert json.loads((plan.out / "run.json").read_text())["config"]["margin"] == 0.3
    model = HashModel(plan.out / "model-16", verify=True)
    assert model.description.method == "triplet"
    assert "reconstruction" not in (model.folder / "README.md").read_text()
    with pytest.raises(HashcliError, match=r"margin 0.3, not 0.5"):
        train_hash_models(resumed(plan, margin=0.5), Kept())
    (plan.out / "checkpoints" / "16" / "triplet.pt").unlink()
    again = Kept()
    assert train_hash_models(resumed(plan), again) == rows
    assert again.epochs == [(16, "triplet", 1), (16, "triplet", 2)]
    update = update_plan(model.folder, replace(mirflickr, name="new"), tmp_path, "update", epochs=1)
    train_hash_models(update, Kept())


def test_its_setting_is_checked_and_is_not_another_methods() -> None:
    with pytest.raises(HashcliError, match="margin must be from 0 to 2, not 3"):
        resolve_settings(assignments=["margin=3"], method="triplet")
    with pytest.raises(HashcliError, match="margin is a setting of triplet, and the method is ckdh"):
        resolve_settings(assignments=["margin=1"], method="ckdh")


def test_its_setting_is_listed(hashcli: Run) -> None:
    own = [one for one in describe_settings("triplet") if one.method]
    assert [(one.method, one.name, one.default, one.allowed) for one in own] == [("triplet", "margin", "0.4", "0 to 2")]
    printed = hashcli("distill", "--settings", "triplet").stdout
    assert "triplet\tmargin\t0.4\t0 to 2\thow much closer" in printed


def test_the_help_names_it(hashcli: Run) -> None:
    assert "triplet" in hashcli("distill", "--help").stdout
