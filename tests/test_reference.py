"""docs/reference.md is what the commands say of themselves. `python -m tests.test_reference` writes it again."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
_RUN = "import sys; from hashcli.cli import main; sys.argv[0] = 'hashcli'; main()"
TOP = """# Command reference

The `--help` of every command. `python -m tests.test_reference` writes this page, and a test checks that it is current.
"""


def page() -> str:
    overview = said()
    commands = re.findall(r"^  ([a-z]+) ", overview[overview.index("\nCommands:") :], re.MULTILINE)
    assert "search" in commands
    parts = [TOP, f"```\n{overview}```\n", *(f"## {name}\n\n```\n{said(name)}```\n" for name in commands)]
    return "\n".join(parts)


def said(*command: str) -> str:
    own = {"COLUMNS": "110", "TERM": "dumb", "HOME": "/nowhere", "HASHCLI_CONFIG": os.devnull}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *command, "--help"],
        env={key: value for key, value in os.environ.items() if not key.startswith("HASHCLI")} | own,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return re.sub(r"[^\S\n]+$", "", done.stdout, flags=re.MULTILINE).strip("\n") + "\n"


def test_the_reference_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "Write it again: python -m tests.test_reference"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
