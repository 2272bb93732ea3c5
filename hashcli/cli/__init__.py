"""The command line: one file per command, options in, rows out. Heavy imports wait inside the commands."""

import sys
import warnings
from io import TextIOWrapper
from typing import Annotated

import typer

import hashcli
from hashcli.cli import distill, encode, evaluate, index, info, models, search
from hashcli.cli.common import debug, stop_with
from hashcli.errors import HashcliError, reason_of

app = typer.Typer(
    name="hashcli",
    help="Find photos by meaning: 32 bytes a photo, an answer at once.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (index, search, encode, distill, evaluate, models, info):
    app.command(name=command.__name__.rpartition(".")[2], epilog=command.EXAMPLES)(command.run)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(hashcli.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but some inputs were skipped."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name the terminal cannot show is no reason to stop
    warnings.filterwarnings("ignore", module="PIL")  # a photo's odd metadata is not the user's concern
    try:
        app()
    except HashcliError as error:
        if debug():
            raise
        stop_with(error.problem, error.remedy)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if debug():
            raise
        stop_with(f"{error.filename or 'input or output'}: {reason_of(error)}.")
    except Exception as error:
        if debug():
            raise
        stop_with(f"{type(error).__name__}: {error}", "This should not happen; --debug shows where it did.")
    sys.exit(0)
