"""hashcli config: what the config file says. And the reading of it, for all commands."""

import os
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from hashcli.cli.console import printable, say, write_json
from hashcli.cli.options import Json
from hashcli.errors import HashcliError, did_you_mean

EXAMPLES = """Examples:
hashcli config            where the file is, and what it says
HASHCLI_CONFIG= hashcli search dog      without it, once"""


def run(ctx: typer.Context, json: Json = False) -> None:
    """Show the config file.

    It holds defaults for the options of the commands, under the same names, as TOML: name = "family" at the top is for
    every command that has the option --name, and k = 20 below [search] for hashcli search. The command line and
    environment variables go before it. $HASHCLI_CONFIG names another file; where it is empty, none is read.
    """
    path = config_path()
    settings = _read(path) if path else {}
    if json:
        write_json({"file": str(path) if path else None, "exists": bool(path and path.exists()), "settings": settings})
        return
    if path is None:
        say("No config file is read: HASHCLI_CONFIG is empty.")
        return
    print(f"file  {printable(str(path))}")
    if not path.exists():
        say("There is no such file, and none is needed.")
    for key, value in settings.items():
        for inner, one in value.items() if isinstance(value, dict) else ((None, value),):
            print(f"{key if inner is None else f'[{key}] {inner}'} = {printable(_shown(one))}")


def config_path() -> Path | None:
    """Where the config file is, or would be; None if none is to be read."""
    given = os.environ.get("HASHCLI_CONFIG")
    if given is None:
        from platformdirs import user_config_path

        return user_config_path("hashcli") / "config.toml"
    return Path(given).expanduser() if given else None


def defaults(ctx: typer.Context) -> dict[str, Any]:
    """What the config file says for the command of this context, by the names of its parameters.

    The whole file is checked. Raises HashcliError for what no command understands.
    """
    path = config_path()
    if path is None:
        return {}
    settings = _read(path)
    if not settings:
        return {}
    root = ctx.find_root().command
    assert isinstance(root, TyperGroup)
    commands = {name: _options(command) for name, command in root.commands.items()}
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key in tables:
            continue
        takers = {name: options[key] for name, options in commands.items() if key in options}
        if not takers:
            known = {option for options in commands.values() for option in options} | set(commands)
            raise HashcliError(f"{path}: no command has the option {key!r}.{did_you_mean(key, known)}", status=2)
        unfit = {}
        for name, option in takers.items():
            try:
                checked = _checked(value, option, ctx, f"{path}: {key}")
            except HashcliError as error:
                unfit[name] = error
                continue
            if name == ctx.command.name:
                found[option.name] = checked
        if len(unfit) == len(takers):  # -k of search is a number, --k of evaluate a text: one of them is meant
            raise next(iter(unfit.values()))
    for name, table in tables.items():
        if name not in commands:
            raise HashcliError(f"{path}: there is no command {name!r}.{did_you_mean(name, commands)}", status=2)
        for key, value in table.items():
            if key not in commands[name]:
                suggestion = did_you_mean(key, commands[name])
                raise HashcliError(f"{path}: hashcli {name} has no option {key!r}.{suggestion}", status=2)
            option = commands[name][key]
            checked = _checked(value, option, ctx, f"{path}: [{name}] {key}")
            if name == ctx.command.name:
                found[option.name] = checked
    return found


def _read(path: Path) -> dict[str, Any]:
    if not path.exists() and "HASHCLI_CONFIG" not in os.environ:
        return {}
    import tomllib

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {(error.strerror or '').lower()}.", status=2) from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise HashcliError(f"{path} is not TOML: {error}.", status=2) from error


def _options(command: Any) -> dict[str, Any]:
    """The options of a command as the config file names them: as on the command line, without the dashes."""
    return {
        name.lstrip("-"): parameter
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in parameter.opts
        if name.startswith("--") or len(parameter.opts) == 1
    }


def _checked(value: Any, option: Any, ctx: typer.Context, where: str) -> Any:
    """The value, if it is of the kind that the option takes."""
    if option.multiple:
        if not isinstance(value, list):
            raise HashcliError(f"{where} must be a list in [ ], not {_shown(value)}.", status=2)
    elif isinstance(value, list):
        raise HashcliError(f"{where} must be one value, not a list.", status=2)
    kind, said = _kind(option)
    for one in value if option.multiple else [value]:
        if not isinstance(one, kind) or (isinstance(one, bool) and kind is not bool):  # a bool is an int to Python
            raise HashcliError(f"{where} must be {said}, not {_shown(one)}.", status=2)
    try:
        option.type_cast_value(ctx, value)
    except typer.BadParameter as error:
        raise HashcliError(f"{where}: {error.message}", status=2) from error
    return value


def _kind(option: Any) -> tuple[type | tuple[type, ...], str]:
    """What TOML must give for an option, and its name."""
    if option.is_flag:
        return bool, "true or false"
    if option.type.name.startswith("int"):  # and ranges
        return int, "a whole number"
    if option.type.name.startswith("float"):
        return (int, float), "a number"
    return str, 'a text in " "'


def _shown(value: Any) -> str:
    from json import dumps

    return dumps(value, ensure_ascii=False, default=str)
