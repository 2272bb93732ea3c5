"""Where settings come from, and which will not do."""

import re
from pathlib import Path

import pytest

from hashcli.distillation.config import Config, resolve
from hashcli.errors import HashcliError


def test_defaults_then_the_file_then_settings_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('method = "ckdh"\nbits = 24\nkappa = 1\nseed = 5\nepochs = 4\ndistil = false\n')
    config = resolve(file, ["epochs=5", "seed=6", "prompt=a drawing of {}"], seed=7, teacher=None)
    expected = Config(method="ckdh", bits=(24,), kappa=1.0, seed=7, epochs=5, distil=False, prompt="a drawing of {}")
    assert config == expected
    assert isinstance(config.kappa, float)
    assert resolve(None) == Config()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epoch = 3", "settings.toml: there is no setting 'epoch'"),
        ("epochs = 3.5", "settings.toml: epochs must be a whole number, not 3.5"),
        ("epochs = true", "settings.toml: epochs must be a whole number, not True"),
        ("epochs = 0", "settings.toml: epochs must be from 1 to 1e+06, not 0"),
        ("batch = 1", "batch must be from 2 to"),
        ("learning_rate = -0.1", "learning_rate must be from 1e-08 to 1, not -0.1"),
        ("learning_rate = nan", "learning_rate must be from 1e-08 to 1, not nan"),
        ("dropout = 1", "dropout must be from 0 to 0.99, not 1"),
        ("neighbours = 1.5", "neighbours must be from 0 to 1, not 1.5"),
        ('kappa = "much"', "kappa must be a number, not 'much'"),
        ("seed = -1", "seed must be from 0 to"),
        ("distil = 0", "settings.toml: distil must be true or false, not 0"),
        ("teacher = 3", "settings.toml: teacher must be text, not 3"),
        ('method = "nosuch"', "method must be one of soda, ckdh, lcdh, not 'nosuch'"),
        ('tune_teacher = "some"', "tune_teacher must be one of head, last, full"),
        ('device = "tpu"', "device must be one of auto, cpu, cuda"),
        ('prompt = "a photo"', "prompt must be a sentence with one {} for the labels"),
        ("bits = [16, 20]", "bits must be multiples of 8 from 16 to 1024"),
        ("bits = 8", "bits must be multiples of 8 from 16 to 1024"),
        ('bits = ["16"]', "bits must be multiples of 8"),
        ("bits = []", "bits must be multiples of 8"),
        ("epochs = ", "settings.toml is not TOML"),
    ],
)
def test_a_setting_that_will_not_do_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    with pytest.raises(HashcliError, match=re.escape(said)):
        resolve(file)


def test_a_misspelt_setting_gets_the_nearest_name() -> None:
    with pytest.raises(HashcliError, match=r"no setting 'neighbors'\. Did you mean neighbours\?"):
        resolve(None, ["neighbors=0.1"])
    with pytest.raises(HashcliError, match="no setting 'x'") as raised:
        resolve(None, ["x=0.1"])
    assert "neighbours" in raised.value.remedy


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HashcliError, match=r"nosuch\.toml cannot be read"):
        resolve(tmp_path / "nosuch.toml")
