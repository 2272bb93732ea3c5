"""The user's config file. The terminal takes defaults of options from it; Python takes only the default index."""

import os
from pathlib import Path
from typing import Any

from hashcli.errors import HashcliError
from hashcli.parsing import parse_toml


class ConfigFileError(HashcliError):
    """The config file cannot be read, or is not understood."""


def config_path() -> Path | None:
    """Where the config file is, or would be; None if $HASHCLI_CONFIG is empty, so that none is read."""
    given = os.environ.get("HASHCLI_CONFIG")
    if given is None:
        from platformdirs import user_config_path

        return user_config_path("hashcli") / "config.toml"
    return Path(given).expanduser() if given else None


def read_config() -> dict[str, Any]:
    """The settings in the config file, as TOML gives them; empty if there is no file. Raises ConfigFileError."""
    path = config_path()
    if path is None:
        return {}
    try:
        if "HASHCLI_CONFIG" not in os.environ and not path.exists():
            return {}
        return parse_toml(path.read_bytes().decode())
    except OSError as error:
        raise ConfigFileError(f"{path} cannot be read: {(error.strerror or '').lower()}.") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigFileError(f"{path} is not TOML: {error}.") from error
