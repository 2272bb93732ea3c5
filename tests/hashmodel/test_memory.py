"""Images that decode at the same time share one allowance of memory."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hashcli.hashmodel import images
from hashcli.hashmodel.memory import MemoryBudget, decoding_budget, machine_memory
from tests.conftest import SKIMAGE


def test_no_more_is_used_at_once_than_there_is() -> None:
    budget, lock = MemoryBudget(100), threading.Lock()
    used: list[int] = []
    most = 0

    def work(size: int) -> None:
        nonlocal most
        with budget.reserved(size):
            with lock:
                used.append(size)
                most = max(most, sum(used))
            threading.Event().wait(0.002)
            with lock:
                used.remove(size)

    threads = [threading.Thread(target=work, args=(size,)) for size in (60, 30, 50, 10, 40) * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 60 <= most <= 100


def test_more_than_there_is_is_given_to_one_alone() -> None:
    budget = MemoryBudget(100)
    with budget.reserved(5000):
        waiting = threading.Thread(target=lambda: budget.reserved(1).__enter__())
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


def test_an_error_gives_the_memory_back() -> None:
    budget = MemoryBudget(100)
    for _ in range(3):
        try:
            with budget.reserved(100):
                raise ValueError
        except ValueError:
            pass
    with budget.reserved(100):
        pass


def test_the_budget_is_a_part_of_the_machine() -> None:
    assert decoding_budget() is decoding_budget()
    assert 0 < decoding_budget().size <= max(machine_memory() // 4, 256 << 20)


ENCODED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": ("RGB", "PNG", {"compress_level": 1}),
    "palette png": ("P", "PNG", {"compress_level": 1}),
    "grey png with transparency": ("LA", "PNG", {"compress_level": 1}),
    "lzw tiff": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "tiff of floats": ("F", "TIFF", {}),
    "webp": ("RGB", "WEBP", {"method": 0}),
    "jpeg 2000": ("RGB", "JPEG2000", {"quality_mode": "rates", "quality_layers": [40]}),
}


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the most memory so far cannot be reset")
@pytest.mark.parametrize("kind", ENCODED)
def test_decoding_takes_no_more_than_is_reserved(tmp_path: Path, kind: str) -> None:
    mode, format_, options = ENCODED[kind]
    photo = Image.open(SKIMAGE / "chelsea.png").convert("L" if mode in ("LA", "F") else "RGB").resize((3000, 2000))
    photo.convert(mode).save(tmp_path / "photo", format_, **options)
    del photo
    with images.opened(tmp_path / "photo") as image:
        reserved = images._memory(image)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_of_this_process("VmRSS")
    images.load_pixels(tmp_path / "photo", 64, "squash")
    assert memory_of_this_process("VmHWM") - before <= 1.1 * reserved + (4 << 20)


def memory_of_this_process(name: str) -> int:
    """A figure of /proc in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10
