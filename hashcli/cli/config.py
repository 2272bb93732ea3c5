"""hashcli config, and the config file for all commands."""

from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from hashcli.cli.console import UsageError, say, write_json
from hashcli.cli.options import Json
from hashcli.config_file import config_path, read_config
from hashcli.errors import did_you_mean
from hashcli.printable import printable

EXAMPLES = """Examples:
hashcli config            where the file is, and its text
HASHCLI_CONFIG= hashcli search dog      ignore the config file this once"""


def run(ctx: typer.Context, json: Json = False) -> None:
    """Show the config file.

    It is a TOML file with defaults for the options of the commands, under the same names: name = "family" at the top
    applies to every command that has the option --name, and k = 20 below [search] applies to hashcli search. The
    command line and environment variables take precedence. $HASHCLI_CONFIG names another file; if it is empty, no file
    is read.
    """
    path, settings = config_path(), read_config()
    if json:
        write_json({"file": str(path) if path else None, "exists": bool(path and path.exists()), "settings": settings})
        return
    if path is None:
        say("No config file is read: HASHCLI_CONFIG is empty.")
        return
    print(f"# {printable(str(path))}")
    if not path.exists():
        say("This file does not exist, and is not required.")
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        print(printable(line.replace("\t", "    ")))


def defaults(ctx: typer.Context) -> dict[str, Any]:
    """What the config file says for the command of this context, by the names of its parameters.

    The whole file is checked. Raises UsageError for what no command understands, and ConfigFileError.
    """
    path, settings = config_path(), read_config()
    if not path or not settings:
        return {}
    root = ctx.find_root().command
    assert isinstance(root, TyperGroup)
    config = _Config(path, {name: _options(command) for name, command in root.commands.items()}, ctx)
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if not isinstance(value, dict):
            found |= config.for_all_commands(key, value)
    for name, table in settings.items():  # last, because a command's own table overrides what is for all commands
        if isinstance(table, dict):
            found |= config.for_one_command(name, table)
    return found


class _Config(NamedTuple):
    """A config file and what it may say: `commands` are the options of each command by their names in the file."""

    path: Path
    commands: dict[str, dict[str, Any]]
    ctx: typer.Context

    def for_all_commands(self, key: str, value: Any) -> dict[str, Any]:
        """A setting at the top of the file, if it is for this command: it must fit at least one that has the option."""
        takers = {name: options[key] for name, options in self.commands.items() if key in options}
        if not takers:
            known = {option for options in self.commands.values() for option in options} | set(self.commands)
            raise UsageError(f"{self.path}: no command has the option {key!r}.{did_you_mean(key, known)}")
        found, errors = {}, []
        for name, option in takers.items():
            try:
                checked = _checked(value, option, self.ctx, f"{self.path}: {key}")
            except UsageError as error:
                errors.append(error)
                continue
            if name == self.ctx.command.name:
                found[option.name] = checked
        if len(errors) == len(takers):  # -k of search is a number, --k of evaluate a string: either may be meant
            raise errors[0]
        return found

    def for_one_command(self, name: str, table: dict[str, Any]) -> dict[str, Any]:
        """The settings below [name], if that is this command."""
        if name not in self.commands:
            raise UsageError(f"{self.path}: there is no command {name!r}.{did_you_mean(name, self.commands)}")
        found = {}
        for key, value in table.items():
            if key not in self.commands[name]:
                suggestion = did_you_mean(key, self.commands[name])
                raise UsageError(f"{self.path}: hashcli {name} has no option {key!r}.{suggestion}")
            option = self.commands[name][key]
            found[option.name] = _checked(value, option, self.ctx, f"{self.path}: [{name}] {key}")
        return found if name == self.ctx.command.name else {}


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
    """The value. Raises UsageError if the option does not take values of its type."""
    if option.multiple:
        if not isinstance(value, list):
            raise UsageError(f"{where} must be a list in [ ], not {_shown(value)}.")
    elif isinstance(value, list):
        raise UsageError(f"{where} must be one value, not a list.")
    kind, kind_name = _kind(option)
    for one in value if option.multiple else [value]:
        if not isinstance(one, kind) or (isinstance(one, bool) and kind is not bool):  # a bool is an int to Python
            raise UsageError(f"{where} must be {kind_name}, not {_shown(one)}.")
    try:
        option.type_cast_value(ctx, value)
    except typer.BadParameter as error:
        raise UsageError(f"{where}: {error.message}") from error
    return value


def _kind(option: Any) -> tuple[type | tuple[type, ...], str]:
    """The type that an option's value must have in TOML, and what to call it in a message."""
    if option.is_flag:
        return bool, "true or false"
    if option.type.name.startswith("int"):  # and ranges
        return int, "a whole number"
    if option.type.name.startswith("float"):
        return (int, float), "a number"
    return str, 'a string in " "'


def _shown(value: Any) -> str:
    from json import dumps

    return dumps(value, ensure_ascii=False, default=str)
