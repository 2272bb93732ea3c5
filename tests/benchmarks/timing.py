"""Timing two things in turn, so that a machine whose speed drifts treats both alike."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence


def ratio(ours: Callable[[], object], rival: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """Median seconds of ours, of the rival, and the median of the pairwise ratios, after one run of each to warm up."""
    ours(), rival()
    pairs = [(seconds(ours), seconds(rival)) for _ in range(runs)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def process(command: Sequence[object]) -> Callable[[], object]:
    """A whole process, from nothing."""
    return lambda: subprocess.run([str(part) for part in command], check=True, capture_output=True)


def cost(command: Sequence[object]) -> tuple[float, float]:
    """CPU seconds of a whole process, on all cores together, and the most memory that it had, in MiB."""
    started = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise subprocess.CalledProcessError(started.returncode, started.args)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def seconds(what: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began
