"""Where settings come from, and which will not do."""

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
        ("epochs = 3.5", "settings.toml: epochs must be int, not 3.5"),
        ("distil = 0", "settings.toml: distil must be bool, not 0"),
        ('method = "nosuch"', "There is no method 'nosuch'"),
        ("bits = [16, 20]", "--bits 20 will not do"),
        ("bits = 8", "--bits 8 will not do"),
        ("epochs = ", "settings.toml is not TOML"),
    ],
)
def test_a_setting_that_will_not_do_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    with pytest.raises(HashcliError, match=said):
        resolve(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HashcliError, match=r"nosuch\.toml cannot be read"):
        resolve(tmp_path / "nosuch.toml")
