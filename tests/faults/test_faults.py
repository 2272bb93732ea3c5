"""A few trials of each kind of fault; `python -m tests.faults` runs many."""

import os

import pytest

from tests.faults.campaign import KINDS, trials

pytestmark = pytest.mark.skipif(not hasattr(os, "wait4"), reason="processes cannot be watched here")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_promised_holds_whatever_happens(kind: str) -> None:
    assert not [fault for fault in trials(kind, 1, seed=1) if fault]
