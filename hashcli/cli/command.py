"""What all commands share: options for messages, defaults from the config file, and how examples are printed."""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from typer.core import TyperCommand, TyperGroup, TyperOption

from hashcli.cli.console import detail, stop_with
from hashcli.errors import did_you_mean

# Options that exclude each other: one given more directly overrides those from the environment or the config file.
_ALTERNATIVES = (
    ("index", "name"),
    ("quiet", "verbose"),
    ("json", "paths", "print0", "show", "extras"),
    ("json", "interactive"),
)
_DIRECTNESS = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")

_debug = False  # whether --debug was given


class ReaderLeftError(Exception):
    """The reader of our output has closed it, as `head` does. No error, though typer treats a broken pipe as one."""


class Command(TyperCommand):
    """One command, with what all commands share beyond the signature of `run`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _message_options()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not (ctx.resilient_parsing or {"-h", "--help"} & set(args)):
            from hashcli.cli import config

            _check_working_folder()
            ctx.default_map = config.defaults(ctx)
        rest = super().parse_args(ctx, args)
        for names in _ALTERNATIVES:
            _keep_most_direct(ctx, names)
        if not ctx.resilient_parsing:
            _set_up_messages(**{name: ctx.params.pop(name) for name in ("quiet", "verbose", "log", "debug")})
        return rest

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Print the examples as they can be typed: a line that is too long is continued, still as one shell command."""
        lines = [line for line in (self.epilog or "").splitlines() if line.strip()]
        formatter.write("\n")
        for number, line in enumerate(lines):
            formatter.write("".join(f"{part}\n" for part in _folded("  " * bool(number) + line, formatter.width)))


class CommandGroup(TyperGroup):
    """All commands. Whoever leaves the command out most likely wants to search, and is told what to type."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own, of_search = (_names(options) for options in (self.get_params(ctx), self.commands["search"].params))
        option = args[0].partition("=")[0] if args and args[0].startswith("-") else ""
        if option and option not in own and not ctx.resilient_parsing:
            is_search = option in of_search | {"-n"}  # -n for the number of results, as other programs have it
            _stop_without_command(f"There is no option {option} before a command.", args if is_search else [])
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            like = did_you_mean(args[0], self.commands)
            _stop_without_command(f"There is no command {args[0]!r}.{like}", [] if like else args)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # prints --help
        with _reader_may_leave():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _reader_may_leave():
            return super().invoke(ctx)


def _names(options: Iterable[Any]) -> set[str]:
    return {name for option in options for name in option.opts}


def _stop_without_command(problem: str, args: list[str]) -> NoReturn:
    search = shlex.join(["hashcli", "search", *("-k" if arg == "-n" else arg for arg in args)])
    stop_with(problem, f"To search: {search}" if args else "hashcli --help lists the commands.", status=2)


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderLeftError from error


def _folded(line: str, width: int) -> Iterator[str]:
    """Fold an example: a remark (after three or more spaces) moves to its own line, options follow a backslash."""
    command, *remark = re.split(r"(?<=\S) {3,}", line, maxsplit=1)
    if remark and len(line) <= width:
        yield line
        return
    while len(command) > width and (end := command.rfind(" --", 8, width - 1)) > 0:
        yield command[:end] + " \\"
        command = "     " + command[end:]
    yield command
    yield from (f"      {text}" for text in remark)


def _check_working_folder() -> None:
    """End the program if the working directory was deleted: libraries fail in odd ways without one."""
    try:
        os.getcwd()
    except FileNotFoundError:
        here = os.environ.get("PWD", "")  # of the shell: the system has no name for it any more
        name = "" if os.path.exists(here) else f", {here},"
        stop_with(
            f"The folder in which hashcli was started{name} was deleted or moved.",
            "Change to a folder that is there, for example: cd ~",
        )


def _message_options() -> list[TyperOption]:
    return [
        TyperOption(param_decls=["-q", "--quiet"], is_flag=True, default=False, help="Print only errors."),
        TyperOption(param_decls=["-v", "--verbose"], is_flag=True, default=False, help="Print more details."),
        TyperOption(
            param_decls=["--log"],
            type=str,
            metavar="FILE",
            help="Append all messages and details to a file, each line with the time.",
        ),
        TyperOption(param_decls=["--debug"], is_flag=True, default=False, help="Show a traceback on an error."),
    ]


def _set_up_messages(*, quiet: bool, verbose: bool, log: str | None, debug: bool) -> None:
    from hashcli.cli import messages
    from hashcli.index.milvus_address import without_passwords

    global _debug
    if quiet and verbose:
        stop_with("--quiet and --verbose cannot be combined.", status=2)
    _debug = debug
    messages.set_up(quiet=quiet, verbose=verbose, log=_log_file(log) if log else None)
    detail(f"command: hashcli {without_passwords(shlex.join(_without_password(sys.argv[1:])))}")


def _without_password(arguments: list[str]) -> list[str]:
    """Arguments to be logged, without the value of --password."""
    return [
        "..." if before == "--password" else re.sub(r"(?s)^(--password=).*", r"\1...", argument)
        for before, argument in pairwise(["", *arguments])
    ]


def shows_traceback() -> bool:
    """Whether errors are shown with a traceback."""
    return _debug


def _log_file(log: str) -> Path:
    """The log file, created if it does not exist. Ends the program if it cannot be used."""
    path = Path(os.path.expanduser(log)).absolute()
    try:
        with path.open("a+", encoding="utf-8") as file:
            file.seek(0)
            is_text = "\0" not in file.read(4096)
    except UnicodeDecodeError:
        is_text = False
    except OSError as error:
        stop_with(f"{log} cannot be written: {(error.strerror or str(error)).lower()}.", "Choose another --log.")
    if not is_text:
        stop_with(f"{log} exists and is not a text file, so it cannot be the log.", "Choose another --log.", status=2)
    return path


def _keep_most_direct(ctx: Any, names: Sequence[str]) -> None:
    """Of options that exclude each other, unset those that were given less directly than another."""
    given = {name: _directness(ctx, name) for name in names if ctx.params.get(name)}
    for name, directness in given.items():
        if directness > min(given.values()):
            ctx.params[name] = False if isinstance(ctx.params[name], bool) else None


def _directness(ctx: Any, name: str) -> int:
    source = ctx.get_parameter_source(name)
    return _DIRECTNESS.index(source.name) if source and source.name in _DIRECTNESS else len(_DIRECTNESS)
