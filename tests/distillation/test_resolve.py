"""Where settings come from, and which values are refused."""

import re
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from hashcli.distillation.ckdh import CkdhSettings
from hashcli.distillation.lcdh import LcdhSettings
from hashcli.distillation.registry import METHODS, load_method
from hashcli.distillation.resolve import describe_settings, named_method, resolve_settings, settings_from_json
from hashcli.distillation.settings import Settings, number
from hashcli.distillation.soda import SodaSettings
from hashcli.errors import HashcliError


def test_defaults_then_the_file_then_assignments_then_values(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('method = "ckdh"\nbits = 24\nkappa = 1\nseed = 5\nepochs = 4\ndistil = false\n')
    settings = resolve_settings(file, ["epochs=5", "seed=6", "teacher=a/b"], seed=7, student=None)
    assert settings == CkdhSettings(method="ckdh", bits=(24,), kappa=1.0, seed=7, epochs=5, distil=False, teacher="a/b")
    assert isinstance(settings, CkdhSettings)
    assert isinstance(settings.kappa, float)
    assert resolve_settings() == SodaSettings(method="soda")
    assert resolve_settings(file, ["method=soda"], method="lcdh").method == "lcdh"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epoch = 3", "settings.toml: there is no setting 'epoch'"),
        ("epochs = 3.5", "settings.toml: epochs must be a whole number, not 3.5"),
        ("epochs = true", "settings.toml: epochs must be a whole number, not True"),
        ("epochs = 0", "settings.toml: epochs must be from 1 to 1,000,000, not 0"),
        ("batch = 1", "batch must be from 2 to"),
        ("learning_rate = -0.1", "learning_rate must be from 1e-08 to 1, not -0.1"),
        ("learning_rate = nan", "learning_rate must be from 1e-08 to 1, not nan"),
        ("dropout = 1", "dropout must be from 0 to 0.99, not 1"),
        ("neighbours = 1.5", "neighbours must be from 0 to 1, not 1.5"),
        ('method = "ckdh"\nkappa = "much"', "kappa must be a number, not 'much'"),
        ("seed = -1", "seed must be from 0 to"),
        ("distil = 0", "settings.toml: distil must be true or false, not 0"),
        ("teacher = 3", "settings.toml: teacher must be text, not 3"),
        ("device = 3", "settings.toml: device must be text, not 3"),
        ('method = "nosuch"', "settings.toml: method must be one of soda, ckdh, lcdh, itq, rank, not 'nosuch'"),
        ("method = 3", "settings.toml: method must be one of soda, ckdh, lcdh, itq, rank, not 3"),
        ('method = "ckdh"\ntune_teacher = "some"', "tune_teacher must be one of head, last, full"),
        ('device = "tpu"', "device must be one of auto, cpu, cuda"),
        ('prompt = "a photo"', "prompt must be a sentence with one {} for the labels"),
        ("prompt = 3", "prompt must be text, not 3"),
        ("bits = [16, 20]", "bits must be multiples of 8 from 16 to 1024"),
        ("bits = 8", "bits must be multiples of 8 from 16 to 1024"),
        ('bits = ["16"]', "bits must be multiples of 8"),
        ("bits = []", "bits must be multiples of 8"),
        ("epochs = ", "settings.toml is not TOML"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    with pytest.raises(HashcliError, match=re.escape(said)):
        resolve_settings(file)


def test_an_assignment_is_named_as_it_was_given() -> None:
    with pytest.raises(HashcliError, match=r"^epochs=0: epochs must be from 1 to"):
        resolve_settings(assignments=["epochs=0"])


def test_a_misspelt_setting_gets_the_nearest_name() -> None:
    with pytest.raises(HashcliError, match=r"no setting 'neighbors'\. Did you mean neighbours\?"):
        resolve_settings(assignments=["neighbors=0.1"])
    with pytest.raises(HashcliError, match=r"no setting 'kapa'\. Did you mean kappa\?"):
        resolve_settings(assignments=["kapa=0.1"], method="soda")  # which is CKDH's
    with pytest.raises(HashcliError, match="no setting 'x'") as raised:
        resolve_settings(assignments=["x=0.1"])
    assert "neighbours" in raised.value.remedy


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HashcliError, match=r"nosuch\.toml cannot be read"):
        resolve_settings(tmp_path / "nosuch.toml")


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b'vocabulary = "w\xf6rter.txt"\n')
    with pytest.raises(HashcliError, match=r"settings\.toml cannot be read: "):
        resolve_settings(tmp_path / "settings.toml")


def test_a_file_may_serve_several_methods_and_an_assignment_may_not(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('image_share = 0.7\nrounds = 3\nprompt = "a drawing of {}"\n')
    assert resolve_settings(file, method="ckdh") == CkdhSettings(method="ckdh", image_share=0.7)
    assert resolve_settings(file, method="lcdh") == LcdhSettings(method="lcdh", rounds=3)
    with pytest.raises(
        HashcliError, match=r"^rounds=3: rounds is a setting of lcdh, and the method is soda\."
    ) as raised:
        resolve_settings(assignments=["rounds=3"])
    assert raised.value.remedy == "Leave rounds out, or choose the method lcdh."


def test_the_settings_of_a_model_are_the_base_of_its_update() -> None:
    base = CkdhSettings(method="ckdh", kappa=0.7, epochs=3)
    assert resolve_settings(assignments=["epochs=4"], base=base) == CkdhSettings(method="ckdh", kappa=0.7, epochs=4)


@pytest.mark.parametrize("method", METHODS)
def test_settings_are_saved_and_read(method: str) -> None:
    settings = resolve_settings(method=method, bits=(16, 32), seed=3)
    assert settings_from_json(settings.to_json()) == settings


def test_saved_settings_of_another_version() -> None:
    """Version 0.1 saved those of all methods; what has been added since has its default."""
    saved: dict[str, Any] = {"method": "lcdh", "bits": [16], "rounds": 3, "inter": 0.7, "no_longer_there": 1}
    assert settings_from_json(saved) == LcdhSettings(method="lcdh", bits=(16,), rounds=3)
    with pytest.raises(HashcliError, match="There is no method 'other'"):
        settings_from_json(saved | {"method": "other"})


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_is_listed_with_its_declaration(method: str) -> None:
    settings = load_method(method).settings
    described = {one.name: one for one in describe_settings(method)}
    assert described.keys() == settings.rules().keys()
    for one in described.values():
        shared = settings.rules()[one.name] is Settings.rules().get(one.name)
        assert one.method == (None if shared else method)
        assert one.meaning
        assert one.allowed
    assert (described["seed"].default, described["seed"].allowed) == ("0", "0 to 4,294,967,295")
    if load_method(method).needs_texts:
        assert described.keys() == {one.name for one in fields(settings)} - {"method"}
        assert (described["distil"].default, described["distil"].allowed) == ("true", "true, false")
        assert described["bits"].default == "64"


def test_a_method_without_pairs_refuses_the_settings_of_training_with_them() -> None:
    with pytest.raises(HashcliError, match=r"hidden is a setting of soda and ckdh and lcdh, and the method is itq\."):
        resolve_settings(method="itq", assignments=["hidden=16"])
    names = {"teacher", "seed", "device", "bits", "student", "text", "words", "vocabulary"}
    assert {one.name for one in describe_settings("itq")} == names
    assert resolve_settings(method="itq").to_json().keys() == {"method", *names}
    assert {one.name: one.default for one in describe_settings("itq")}["text"] == "teacher"


def test_the_method_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('method = "lcdh"\n')
    assert named_method() is None
    assert named_method(tmp_path / "own.toml") == "lcdh"
    assert named_method(tmp_path / "own.toml", ["method=ckdh"]) == "ckdh"
    assert named_method(tmp_path / "own.toml", ["method=ckdh"], method="itq") == "itq"
    assert named_method(method=None, seed=1) is None
    with pytest.raises(HashcliError, match="method must be one of"):
        named_method(method="other")


def test_another_default_of_a_shared_setting_is_listed_as_the_methods_own(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class LongSettings(SodaSettings):
        epochs: int = number(90, 1, 10**6, "passes")

    module = SimpleNamespace(METHOD=replace(load_method("soda"), settings=LongSettings))
    monkeypatch.setitem(sys.modules, "long_soda", module)  # type: ignore[arg-type]
    monkeypatch.setitem(METHODS, "long", "long_soda")
    assert resolve_settings(method="long").epochs == 90
    listed = [(one.method, one.default) for one in describe_settings("long") if one.name == "epochs"]
    assert listed == [("long", "90")]
    listed = [(one.method, one.default) for one in describe_settings() if one.name == "epochs"]
    assert listed == [(None, "30"), ("long", "90")]


def test_the_list_of_all_settings_has_each_shared_one_once() -> None:
    others = ("itq", "rank")  # whose bits have another default
    names = [one.name for one in describe_settings() if one.method not in others]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"tune_teacher", "kappa", "teacher_share"}  # of several methods, and not of all
    assert {"epochs", "prompt", "kappa", "rounds"} <= set(names)


@pytest.mark.parametrize("method", METHODS)
def test_every_default_is_allowed(method: str) -> None:
    for rule in load_method(method).settings.rules().values():
        assert rule.parse(rule.default) == rule.default
