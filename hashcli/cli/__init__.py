"""The command line: one file per command, options in, rows out. Heavy imports belong inside the commands."""

import errno
import os
import sys
import time
import warnings
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

import hashcli
from hashcli.cli import config, distill, duplicates, encode, evaluate, index, info, models, search, serve
from hashcli.cli.command import Command, CommandGroup, ReaderLeftError, shows_traceback
from hashcli.cli.console import UsageError, detail, log_traceback, stop_with
from hashcli.config_file import ConfigFileError
from hashcli.errors import HashcliError, reason_of

app = typer.Typer(
    name="hashcli",
    cls=CommandGroup,
    help="Search photos by meaning: 32 bytes per photo, results at once.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (index, search, serve, duplicates, encode, distill, evaluate, models, info, config):
    own = getattr(command, "COMMAND", Command)
    app.command(name=command.__name__.rpartition(".")[2], cls=own, epilog=command.EXAMPLES)(command.run)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(hashcli.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but some inputs were skipped."""
    began = time.perf_counter()
    _open_closed_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that the terminal cannot show
    warnings.filterwarnings("ignore", module="PIL")  # a photo's odd metadata is not the user's concern
    try:
        _run()
    except SystemExit as done:
        if "hashcli.cli.messages" in sys.modules:  # a command has run, not just --help
            detail(f"exit status {done.code or 0} after {time.perf_counter() - began:.2f} s")
        raise


def _run() -> None:
    try:
        try:
            app()
        finally:
            _flush_stdout()
    except ReaderLeftError:
        _drop_stdout()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if shows_traceback():
            raise
        _stop_for(error)


def _stop_for(error: Exception) -> NoReturn:
    """Say in a line or two what is wrong, without a traceback, and exit."""
    is_denied = isinstance(error, PermissionError) or isinstance(error.__cause__, PermissionError)
    check = "Check its permissions, and those of the folders that it is in." if is_denied else ""
    if isinstance(error, HashcliError):
        is_usage = isinstance(error, UsageError | ConfigFileError)
        stop_with(error.problem, error.remedy or check, status=2 if is_usage else 1)
    if isinstance(error, OSError):
        if error.errno == errno.EBADF and not error.filename:
            stop_with("stdin or stdout is closed.")
        stop_with(f"{error.filename or 'input or output'}: {reason_of(error)}.", check)
    log_traceback()
    stop_with(f"{type(error).__name__}: {error}", "This should not happen; --debug shows where it comes from.")


def _open_closed_streams() -> None:
    """If the shell has closed stdin or stdout (`>&-`), using it must fail plainly; messages to stderr may be lost.

    If their numbers stayed free, the next files that are opened would get them, and a library's output could end up in
    those files.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            way = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)[number]  # the wrong way for the first two
            opened = os.open(os.devnull, way)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _flush_stdout() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:
        _drop_stdout()
        stop_with(f"stdout cannot be written: {reason_of(error)}.")


def _drop_stdout() -> None:
    """Keep Python from trying again, when it exits, to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
