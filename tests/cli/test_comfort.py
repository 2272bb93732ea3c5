"""What all commands have in common: how much they say, where, and how they meet mistakes and odd terminals."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.core import TyperOption
from typer.main import get_command

from hashcli.cli import app, distill, options, search
from hashcli.index.catalog import Catalog
from tests.cli.test_models_and_info import COMMANDS
from tests.conftest import PHOTOS, Run
from tests.terminal import on_terminal

HASHCLI = f"{shlex.quote(sys.executable)} -m hashcli"
SCRIPT = Path(sys.executable).with_name("hashcli")


@pytest.fixture
def index(hashcli: Run, photos: Path, tiny_model: Path) -> str:
    hashcli("index", photos, "--index", "ix", "--model", tiny_model)
    return "ix"


@pytest.fixture
def shell(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Run a line of bash, with HASHCLI in it for the command."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")

    def run(line: str, status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-c", line.replace("HASHCLI ", f"{HASHCLI} ")]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "should not happen" not in done.stderr
        assert "Exception ignored" not in done.stderr
        return done

    return run


# --- how much is said ---


def test_quiet_says_errors_alone(hashcli: Run, photos: Path, index: str) -> None:
    (photos / "broken.jpg").write_bytes(b"no")
    assert hashcli("index", photos, "--index", index, "--quiet", status=3).stderr == ""
    (photos / "chelsea.png").unlink()
    assert hashcli("search", "cat", "-k", "99", "-q", "--index", index).stderr == ""
    assert "There is no index" in hashcli("search", "cat", "-q", "--index", "none", status=1).stderr


def test_verbose_says_more(hashcli: Run, tmp_path: Path, index: str) -> None:
    plain = hashcli("search", "cat", "--index", index)
    verbose = hashcli("search", "cat", "--index", index, "--verbose")
    assert verbose.stdout == plain.stdout
    assert f"index: {tmp_path / index}\n" in verbose.stderr
    assert "exit status 0 after" in verbose.stderr
    assert "cannot be combined" in hashcli("search", "cat", "--quiet", "--verbose", status=2).stderr


def test_the_log_keeps_what_was_said_and_more(hashcli: Run, photos: Path, tmp_path: Path, index: str) -> None:
    (photos / "broken\n.jpg").write_bytes(b"no")
    done = hashcli("index", photos, "--index", index, "--log", "log.txt", status=3)
    hashcli("search", "cat", "--index", "none", "--quiet", "--log", "log.txt", status=1)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert all(
        re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (DEBUG|INFO|ERROR) ", line) for line in lines
    )
    said = [line.split(" ", 3)[2:] for line in lines]
    assert [text for level, text in said if level == "INFO"] == done.stderr.splitlines()
    assert ["ERROR", f"hashcli: There is no index in {tmp_path / 'none'}."] in said
    assert ["DEBUG", "command: hashcli search cat --index none --quiet --log log.txt"] in said
    assert said[-1][1].startswith("exit status 1 after ")
    assert "cannot be written" in hashcli("info", "--log", "no/such/folder", status=1).stderr
    photo = (photos / "coffee.png").read_bytes()
    assert "is not a text file" in hashcli("info", "--log", photos / "coffee.png", status=2).stderr
    assert (photos / "coffee.png").read_bytes() == photo


def test_an_error_nobody_expected_is_kept_whole_in_the_log(
    hashcli: Run, tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalog, "count", lambda *_: [][1])
    done = hashcli("info", "--index", index, "--log", "log", status=1)
    assert "This should not happen" in done.stderr
    assert "Traceback" in (tmp_path / "log").read_text()


# --- streams that are closed, full, or left early ---


@pytest.mark.parametrize(
    "command", ["index - --index ix", "encode -", "encode --texts-from -", "duplicates - --index ix"]
)
def test_a_closed_stdin_is_reported(shell: Run, index: str, command: str) -> None:
    done = shell(f"HASHCLI {command} <&-", status=1)
    assert "stdin" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    ["search cat --index ix", "search cat --index ix -0", "info --index ix --json", "models", "--help", "--version"],
)
def test_output_that_cannot_be_written_is_reported(shell: Run, index: str, command: str) -> None:
    assert "stdout" in shell(f"HASHCLI {command} >&-", status=1).stderr
    if Path("/dev/full").exists():
        done = shell(f"HASHCLI {command} >/dev/full", status=1)
        assert "no space left on device" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_work_that_prints_nothing_needs_no_streams(shell: Run, photos: Path, index: str) -> None:
    (photos / "coins.png").unlink()
    (photos / "broken.jpg").write_bytes(b"no")
    shell(f"HASHCLI index photos --index {index} <&- >&- 2>&-", status=3)
    assert "photos       11" in shell(f"HASHCLI info --index {index}").stdout
    if Path("/dev/full").exists():
        shell(f"HASHCLI index photos --index {index} 2>/dev/full", status=3)


def test_a_reader_that_has_seen_enough_is_no_error(shell: Run, index: str) -> None:
    for command in ("search cat -k 99 --index ix", "search cat -0 --index ix", "--help", "index --help"):
        done = shell(f"set -o pipefail; HASHCLI {command} | true")
        assert done.stderr == ""
    assert len(shell(f"set -o pipefail; HASHCLI search cat --index {index} | head -n 1").stdout.splitlines()) == 1


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["serach"], 2, "search"),
        (["search", "--tetx", "cat"], 2, "--text"),
        (["search", "cat", "--index", "ixx"], 1, "Did you mean ix?"),
        (["search", "--image", "photos/chelsae.png", "--index", "ix"], 1, "Did you mean photos/chelsea.png?"),
        (["index", "phtos/trip", "--index", "new"], 1, "Did you mean photos/trip?"),
        (["index", "photos", "Photos/tirp", "--index", "ix"], 3, "did you mean photos/trip?"),
        (["encode", "photos/brik.png"], 3, "did you mean photos/brick.png?"),
        (["encode", "--texts-from", "photoss"], 1, "Did you mean photos?"),
        (["encode", "--text", "cat", "--model", "lite256"], 1, "Did you mean lite-256?"),
        (["evaluate", "--dataset", "mirflikr"], 1, "Did you mean mirflickr?"),
        (["evaluate", "--dataset", "./photo"], 1, "Did you mean photos?"),
    ],
)
def test_did_you_mean(hashcli: Run, index: str, arguments: list[str], status: int, said: str) -> None:
    assert said in hashcli(*arguments, status=status).stderr


def test_nothing_is_suggested_where_nothing_is_like_it_or_it_is_there(hashcli: Run, index: str) -> None:
    for arguments in (
        ["search", "cat", "--index", "qqqq"],
        ["encode", "--text", "cat", "--model", "qqqq"],
        ["search", "cat", "--index", "photos"],
        ["search", "--batch", "photos", "--index", "ix"],
    ):
        assert "Did you mean" not in hashcli(*arguments, status=1).stderr


# --- help ---


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_shown_as_they_are_typed(hashcli: Run, command: str) -> None:
    """No line is too long for 80 columns, and what is folded is still one command for the shell."""
    shown = hashcli(command, "--help", COLUMNS="80").stdout
    assert max(map(len, shown.splitlines())) <= 80
    examples = shown.partition("Examples:\n")[2].replace(" \\\n     ", "")
    for line in filter(str.strip, importlib.import_module(f"hashcli.cli.{command}").EXAMPLES.splitlines()[1:]):
        typed, *remark = re.split(r" {3,}", line.strip(), maxsplit=1)
        assert f"  {typed}" in examples
        assert all(text in examples for text in remark)


# --- completion ---


@pytest.fixture
def complete(shell: Run, tmp_path: Path) -> Callable[..., list[str]]:
    """What bash offers for the last of some words."""
    if not SCRIPT.exists():
        pytest.skip("the command is not installed as a script")

    def offered(*words: str) -> list[str]:
        line = (
            f"PATH={shlex.quote(str(SCRIPT.parent))}:$PATH; source <(hashcli --show-completion)\n"
            f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
            r"""function=$(complete -p hashcli | sed 's/.* -F \([^ ]*\) .*/\1/')"""
            "\n"
            """$function hashcli; printf '%s\\n' "${COMPREPLY[@]}" """
        )
        return sorted(filter(None, shell(line).stdout.splitlines()))

    return offered


def test_bash_completes_commands_options_and_values(
    complete: Callable[..., list[str]], hashcli: Run, photos: Path, tiny_model: Path
) -> None:
    hashcli("index", photos / "coins.png", "--name", "family", "--model", tiny_model)
    assert complete("hashcli", "se") == ["search", "serve"]
    assert complete("hashcli", "duplicates", "--ex") == ["--exact", "--extras"]
    assert complete("hashcli", "search", "--name", "f") == ["family"]
    assert complete("hashcli", "index", "--model", "li") == ["lite-256"]
    assert complete("hashcli", "search", "--index", "") == []  # then bash offers files and folders
    assert complete("hashcli", "search", "--sort", "") == ["date", "rank"]
    assert complete("hashcli", "distill", "--method", "") == ["ckdh", "itq", "lcdh", "rank", "soda"]
    assert complete("hashcli", "distill", "--settings", "") == complete("hashcli", "distill", "--method", "")
    assert complete("hashcli", "evaluate", "--dataset", "mirflickr", "--protocol", "MIR-A") == ["MIR-A"]


# Options that take a text for which nothing can be offered but files and folders, as bash does by itself; all of
# them have --log and --index.
FREE = {
    "search": {"text", "image", "not", "not-image", "batch", "in", "after", "before", "near"},
    "index": {"exclude", "include", "machine", "publish", "published-as"},
    "encode": {"text", "texts-from"},
    "distill": {"bits", "seeds"},
    "serve": {"listen", "password"},
    "evaluate": {"k", "seed", "baseline"},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_completes_what_it_takes(command: str) -> None:
    """Those that take a text of a certain kind offer what there is of it."""
    options = (option for option in get_command(app).commands[command].params if isinstance(option, TyperOption))  # type: ignore[attr-defined]
    without = {
        option.opts[0].lstrip("-")
        for option in options
        if option.type.name == "str" and not option.is_flag and not option._custom_shell_complete
    }
    assert without - {"log", "index"} == FREE.get(command, set())


@pytest.mark.parametrize(
    ("complete_value", "begun", "offered"),
    [
        (options.complete_dataset, "mir", ["mirflickr"]),
        (distill._complete_student, "", ["lite-256", "none"]),
        (distill._complete_method, "l", ["lcdh"]),
        (search._complete_type, "jp", ["jp2", "jpc", "jpe", "jpeg", "jpf", "jpg", "jpx"]),
    ],
)
def test_what_is_offered(
    complete_value: Callable[[str], list[str]], begun: str, offered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert complete_value(begun) == offered
    assert complete_value("nothing begins with this") == []


def test_settings_are_offered_for_the_method_that_is_given() -> None:
    pytest.importorskip("torch")
    ctx = SimpleNamespace(params={"method": "ckdh"})
    assert "graded=" in distill._complete_setting(ctx, "gra")  # type: ignore[arg-type]


def test_completion_is_installed_where_bash_reads_it(shell: Run, tmp_path: Path) -> None:
    if not SCRIPT.exists():
        pytest.skip("the command is not installed as a script")
    (tmp_path / "home").mkdir()
    shell(f"{shlex.quote(str(SCRIPT))} --install-completion; true")
    line = "source ~/.bashrc; complete -p hashcli"
    assert "-F" in shell(line).stdout


# --- colour ---


def test_colour_only_where_it_is_wanted(hashcli: Run, index: str, environment: dict[str, str], tmp_path: Path) -> None:
    command = ("search", "cat", "-k", str(len(PHOTOS)), "--index", index)
    (tmp_path / "photos" / "coins.png").unlink()  # shown in red

    def shown(**more: str) -> str:
        return on_terminal(command, tmp_path, environment | more)

    colours = re.compile(r"\x1b\[[0-9;]*3[1-7]")
    assert colours.search(shown(TERM="xterm-256color"))
    assert not colours.search(shown(TERM="xterm-256color", NO_COLOR="1"))
    assert "\x1b" not in shown(TERM="dumb")
    assert "\x1b" not in hashcli(*command, TERM="xterm-256color").stdout
