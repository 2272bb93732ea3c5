"""Nearest codes, against brute force in numpy; and the files they are mapped from."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashcli.index.catalog import Kind
from hashcli.index.code_index import Codes

GENERATION = 7


def brute_force(ids: np.ndarray, codes: np.ndarray, output: np.ndarray, k: int) -> tuple[list[int], list[int]]:
    """By distance, then by the asymmetric score, then by row."""
    bits = np.unpackbits(codes, axis=1, bitorder="little")
    query = (output > 0).astype(np.uint8)
    distances = (bits != query).sum(axis=1)
    scores = (bits * 2.0 - 1) @ output.astype(np.float64)
    order = sorted(range(len(ids)), key=lambda row: (distances[row], -scores[row], row))[:k]
    return ids[order].tolist(), distances[order].tolist()


def random_codes(n: int, bits: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.arange(10, 10 + 3 * n, 3), rng.integers(0, 256, (n, bits // 8), dtype=np.uint8)


@pytest.mark.parametrize("bits", [16, 64, 256, 1024])
@pytest.mark.parametrize("k", [1, 10, 300, 5000])
def test_nearest_equals_brute_force(bits: int, k: int) -> None:
    """At 16 bits nearly everything ties, also across rank k."""
    ids, codes = random_codes(2000, bits)
    rng = np.random.default_rng(1)
    for _ in range(5):
        output = rng.standard_normal(bits).astype(np.float32)
        nearest = Codes.in_memory(ids, codes).nearest(output, k)
        expected_ids, expected_distances = brute_force(ids, codes, output, k)
        assert nearest.distances.tolist() == expected_distances
        assert nearest.ids.tolist() == expected_ids


def test_equal_codes_come_in_the_order_they_were_added() -> None:
    ids, codes = np.arange(500), np.zeros((500, 8), np.uint8)
    assert Codes.in_memory(ids, codes).nearest(-np.ones(64, np.float32), 5).ids.tolist() == [0, 1, 2, 3, 4]


def test_rerank_orders_the_first_by_the_asymmetric_score_alone() -> None:
    """By hand: the query is sure of bit 0 alone. Item 1 misses two doubtful bits, item 0 misses the sure one."""
    output = np.array([9, 0.1, 0.1, 0.1] + [-0.1] * 12, np.float32)
    codes = np.packbits([[0, 1, 1, 1] + [0] * 12, [1, 0, 0, 1] + [0] * 12], axis=1, bitorder="little")
    searched = Codes.in_memory(np.array([0, 1]), codes)
    assert searched.nearest(output, 2).ids.tolist() == [0, 1]
    reranked = searched.nearest(output, 2, rerank=2)
    assert reranked.ids.tolist() == [1, 0]
    assert reranked.distances.tolist() == [2, 1]


def test_nothing_is_found_among_nothing() -> None:
    empty = Codes.in_memory(np.empty(0, np.int64), np.empty((0, 32), np.uint8))
    assert len(empty.nearest(np.ones(256, np.float32), 10).ids) == 0


@pytest.fixture
def written(tmp_path: Path) -> Path:
    Codes.in_memory(*random_codes(3000, 256)).write(tmp_path, Kind.IMAGE, GENERATION)
    return tmp_path


def test_mapped_files_answer_as_memory_does(written: Path) -> None:
    mapped = Codes.mapped(written, Kind.IMAGE, GENERATION, 256, check_content=True)
    assert mapped is not None
    assert sorted(path.name for path in written.iterdir()) == ["images.faiss", "images.ids.npy"]
    output = np.random.default_rng(2).standard_normal(256).astype(np.float32)
    assert mapped.nearest(output, 20).ids.tolist() == brute_force(*random_codes(3000, 256), output, 20)[0]


def test_other_programs_can_read_the_files(written: Path) -> None:
    import faiss

    ids, codes = random_codes(3000, 256)
    flat: Any = faiss.read_index_binary(str(written / "images.faiss"))
    assert np.array_equal(faiss.vector_to_array(flat.xb).reshape(-1, 32), codes)
    assert np.array_equal(np.load(written / "images.ids.npy"), ids)


@pytest.mark.parametrize("name", ["images.faiss", "images.ids.npy"])
def test_stale_missing_or_cut_files_are_not_used(written: Path, name: str) -> None:
    assert Codes.mapped(written, Kind.IMAGE, GENERATION + 1, 256) is None
    assert Codes.mapped(written, Kind.IMAGE, GENERATION, 128) is None
    assert Codes.mapped(written, Kind.TEXT, GENERATION, 256) is None
    whole = (written / name).read_bytes()
    for length in (0, 5, 40, len(whole) // 2, len(whole) - 1):
        (written / name).write_bytes(whole[:length])
        assert Codes.mapped(written, Kind.IMAGE, GENERATION, 256) is None
    (written / name).unlink()
    assert Codes.mapped(written, Kind.IMAGE, GENERATION, 256) is None


@pytest.mark.parametrize("name", ["images.faiss", "images.ids.npy"])
def test_a_flipped_bit_is_found_by_the_content_check(written: Path, name: str) -> None:
    whole = bytearray((written / name).read_bytes())
    whole[len(whole) // 2] ^= 1
    (written / name).write_bytes(whole)
    assert Codes.mapped(written, Kind.IMAGE, GENERATION, 256, check_content=True) is None


def test_files_of_two_generations_are_not_mixed(written: Path) -> None:
    """A kill between the two renames, or a reader between them."""
    old_ids = (written / "images.ids.npy").read_bytes()
    Codes.in_memory(*random_codes(3000, 256, seed=5)).write(written, Kind.IMAGE, GENERATION + 1)
    (written / "images.ids.npy").write_bytes(old_ids)
    for generation in (GENERATION, GENERATION + 1):
        assert Codes.mapped(written, Kind.IMAGE, generation, 256) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mapped_search_copies_nothing_into_memory(tmp_path: Path) -> None:
    """One million codes are 32 MB; a search of them may add 4 MB of memory of its own."""
    ids, codes = random_codes(1_000_000, 256)
    Codes.in_memory(ids, codes).write(tmp_path, Kind.IMAGE, 1)
    program = f"""
import numpy as np
from pathlib import Path
from typing import Any
from hashcli.index.catalog import Kind
from hashcli.index.code_index import Codes

def own_memory():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

before = own_memory()
codes = Codes.mapped(Path({str(tmp_path)!r}), Kind.IMAGE, 1, 256)
codes.nearest(np.random.default_rng(0).standard_normal(256).astype(np.float32), 10)
print(own_memory() - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert grown < 4096
