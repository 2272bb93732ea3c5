"""A few trials of each kind of fault; `python -m tests.faults` runs many."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.campaign import KINDS

pytestmark = pytest.mark.skipif(not hasattr(os, "wait4"), reason="processes cannot be watched here")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_promised_holds_whatever_happens(kind: str) -> None:
    """In a process of its own: a child's peak of memory counts what its parent has when it starts it."""
    command = [sys.executable, "-m", "tests.faults", "--trials", "1", "--seed", "1", kind]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
