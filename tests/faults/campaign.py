"""Runs trials of each kind of fault, each from a seed of its own, and tells which promises did not hold."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.conftest import make_tiny_model
from tests.faults import disks, full_disk, images, kills, strangers
from tests.faults.bench import Bench, FaultError

KINDS: dict[str, Callable[[Bench], None]] = {
    "kills": kills.trial,
    "images": images.trial,
    "disks": disks.trial,
    "full-disk": full_disk.trial,
    "strangers": strangers.trial,
}


def trials(kind: str, count: int, seed: int) -> Iterator[str]:
    """Run trials with the seeds from `seed` on; yields for each what went wrong, or "". Folders of faults are kept."""
    work = Path(tempfile.mkdtemp(prefix=f"hashcli-faults-{kind}-"))
    model = make_tiny_model(work / "model", seed=0)
    kept = False
    for number in range(seed, seed + count):
        folder = work / str(number)
        folder.mkdir()
        try:
            KINDS[kind](Bench(folder, model, Random(number)))
        except FaultError as fault:
            kept = True
            yield f"{kind}, seed {number}: {fault} (see {folder})"
        else:
            shutil.rmtree(folder)
            yield ""
    if not kept:
        shutil.rmtree(work)
