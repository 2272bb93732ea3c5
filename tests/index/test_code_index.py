"""The nearest codes, against brute force in numpy; the files they are mapped from; and how code indexes change."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from hashcli.hashmodel.codes import pack
from hashcli.index.catalog import Kind
from hashcli.index.code_index import BlockwiseCodes, CodeIndex, FaissCodeIndex, MemoryCodeIndex
from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.ranking import Neighbours, rank

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


def nearest(index: CodeIndex, output: np.ndarray, k: int, reranked: int = 0) -> Neighbours:
    """As a search asks for them."""
    (candidates,) = index.search(pack(output[None]), k, max(k, reranked))
    return rank(candidates, output, reranked, DistanceLimit()).first(k)


@pytest.mark.parametrize("bits", [16, 64, 256, 1024])
@pytest.mark.parametrize("k", [1, 10, 300, 5000])
def test_nearest_equals_brute_force(bits: int, k: int) -> None:
    """At 16 bits nearly everything ties, also across rank k."""
    ids, codes = random_codes(2000, bits)
    rng = np.random.default_rng(1)
    for _ in range(5):
        output = rng.standard_normal(bits).astype(np.float32)
        found = nearest(MemoryCodeIndex(ids, codes), output, k)
        expected_ids, expected_distances = brute_force(ids, codes, output, k)
        assert found.distances.tolist() == expected_distances
        assert found.ids.tolist() == expected_ids


def test_equal_codes_come_in_the_order_they_were_added() -> None:
    ids, codes = np.arange(500), np.zeros((500, 8), np.uint8)
    assert nearest(MemoryCodeIndex(ids, codes), -np.ones(64, np.float32), 5).ids.tolist() == [0, 1, 2, 3, 4]


def test_rerank_orders_the_first_by_the_asymmetric_score_alone() -> None:
    """By hand: the query is sure of bit 0 alone. Item 1 misses two doubtful bits, item 0 misses the sure one."""
    output = np.array([9, 0.1, 0.1, 0.1] + [-0.1] * 12, np.float32)
    codes = np.packbits([[0, 1, 1, 1] + [0] * 12, [1, 0, 0, 1] + [0] * 12], axis=1, bitorder="little")
    searched = MemoryCodeIndex(np.array([0, 1]), codes)
    assert nearest(searched, output, 2).ids.tolist() == [0, 1]
    reranked = nearest(searched, output, 2, reranked=2)
    assert reranked.ids.tolist() == [1, 0]
    assert reranked.distances.tolist() == [2, 1]


def test_only_many_queries_are_searched_on_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever thread: FAISS counts for each."""
    ids, codes = random_codes(100, 64)
    index, search, threads = MemoryCodeIndex(ids, codes), faiss.IndexBinaryFlat.search, []

    def noted(flat: Any, *arguments: Any, **options: Any) -> Any:
        threads.append(faiss.omp_get_max_threads())
        return search(flat, *arguments, **options)

    monkeypatch.setattr(faiss.IndexBinaryFlat, "search", noted)
    for queries in (1, 100, 1):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(index.search, codes[:queries], 1, 1).result()
    assert threads == [1, os.cpu_count(), 1]


def test_nothing_is_found_among_nothing() -> None:
    empty = MemoryCodeIndex(np.empty(0, np.int64), np.empty((0, 32), np.uint8))
    found = nearest(empty, np.ones(256, np.float32), 10)
    assert len(found.ids) == 0
    assert found.nearest_distance is None


def test_among_some_items_no_others_are_found() -> None:
    ids, codes = random_codes(2000, 64)
    output = np.random.default_rng(1).standard_normal(64).astype(np.float32)
    some = np.arange(2000) % 7 == 0
    (candidates,) = MemoryCodeIndex(ids, codes).search(pack(output[None]), 10, 10, among=some)
    found = rank(candidates, output, 0, DistanceLimit()).first(10)
    assert found.ids.tolist() == brute_force(ids[some], codes[some], output, 10)[0]
    (none,) = MemoryCodeIndex(ids, codes).search(pack(output[None]), 10, 10, among=np.zeros(2000, bool))
    assert len(none.ids) == 0


@pytest.mark.parametrize("bits", [16, 64])
@pytest.mark.parametrize("share", [0.004, 0.5, 1])
@pytest.mark.parametrize("count", [10, 100, 5000])
def test_block_by_block_the_candidates_are_the_same(bits: int, share: float, count: int) -> None:
    """Also among some items; at 16 bits many tie, within blocks and across them."""
    ids, codes = random_codes(2000, bits)
    rng = np.random.default_rng(3)
    among = rng.random(2000) < share
    queries = rng.integers(0, 256, (3, bits // 8), dtype=np.uint8)

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, 2000, 300):
            yield ids[start : start + 300], codes[start : start + 300]

    blockwise = BlockwiseCodes(2000, read)
    assert len(blockwise) == 2000
    whole = MemoryCodeIndex(ids[among], codes[among]).search(queries, 10, count)
    for found in (
        blockwise.search(queries, 10, count, among),
        MemoryCodeIndex(ids, codes).search(queries, 10, count, among),
    ):
        for one, expected in zip(found, whole, strict=True):
            assert sorted(one.ids.tolist()) == sorted(expected.ids.tolist())
            order, same = np.argsort(one.ids), np.argsort(expected.ids)
            assert np.array_equal(one.distances[order], expected.distances[same])
            assert np.array_equal(one.codes[order], expected.codes[same])


def test_there_may_be_no_block_at_all() -> None:
    empty = BlockwiseCodes(0, lambda: ())
    (none,) = empty.search(np.zeros((1, 8), np.uint8), 10, 1000)
    assert (len(empty), len(none.ids), none.codes.shape) == (0, 0, (0, 8))


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (DistanceLimit(), 5),
        (DistanceLimit(max_distance=3), 3),
        (DistanceLimit(within=1), 2),
        (DistanceLimit(max_distance=1, within=2), 1),
        (DistanceLimit(max_distance=0), 0),
    ],
)
def test_a_limit_leaves_out_what_is_too_far(limit: DistanceLimit, kept: int) -> None:
    """Items at distances 1 to 5, whatever the limit; the nearest is known even if it is too far."""
    codes = np.packbits([[1] * n + [0] * (16 - n) for n in range(1, 6)], axis=1, bitorder="little")
    output = -np.ones(16, np.float32)
    (candidates,) = MemoryCodeIndex(np.arange(5), codes).search(pack(output[None]), 5, 5)
    found = rank(candidates, output, 0, limit)
    assert found.distances.tolist() == [1, 2, 3, 4, 5][:kept]
    assert found.nearest_distance == 1


def test_items_are_added_replaced_and_removed(tmp_path: Path) -> None:
    """In memory and in files alike; what is added may lie between what is there."""
    ids, codes = random_codes(100, 64)
    engines: list[CodeIndex] = [MemoryCodeIndex(ids[:0], codes[:0]), FaissCodeIndex(tmp_path, Kind.IMAGE, 64)]
    for engine in engines:
        engine.add(ids[::2][::-1], codes[::2][::-1], 1)
        engine.add(ids[1::2], codes[1::2], 2)
        engine.add(ids[:1], codes[99:], 3)
        engine.remove(np.array([*ids[50:], 4]), 4)
        assert (len(engine), engine.generation) == (50, 4)
        expected = np.concatenate([codes[99:], codes[1:50]])
        output = np.random.default_rng(3).standard_normal(64).astype(np.float32)
        assert nearest(engine, output, 50).ids.tolist() == brute_force(ids[:50], expected, output, 50)[0]
    assert FaissCodeIndex(tmp_path, Kind.IMAGE, 64, check_content=True).generation == 4


def write(folder: Path, ids: np.ndarray, codes: np.ndarray, generation: int) -> None:
    FaissCodeIndex(folder, Kind.IMAGE, codes.shape[1] * 8).replace(ids, codes, generation)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write(tmp_path, *random_codes(3000, 256), GENERATION)
    return tmp_path


def generation(folder: Path, kind: Kind = Kind.IMAGE, bits: int = 256, *, check_content: bool = False) -> int | None:
    return FaissCodeIndex(folder, kind, bits, check_content=check_content).generation


def test_mapped_files_answer_as_memory_does(written: Path) -> None:
    mapped = FaissCodeIndex(written, Kind.IMAGE, 256, check_content=True)
    assert mapped.generation == GENERATION
    assert sorted(path.name for path in written.iterdir()) == ["images.faiss", "images.ids.npy"]
    output = np.random.default_rng(2).standard_normal(256).astype(np.float32)
    assert nearest(mapped, output, 20).ids.tolist() == brute_force(*random_codes(3000, 256), output, 20)[0]


def test_other_programs_can_read_the_files(written: Path) -> None:
    import faiss

    ids, codes = random_codes(3000, 256)
    flat: Any = faiss.read_index_binary(str(written / "images.faiss"))
    assert np.array_equal(faiss.vector_to_array(flat.xb).reshape(-1, 32), codes)
    assert np.array_equal(np.load(written / "images.ids.npy"), ids)


@pytest.mark.parametrize("name", ["images.faiss", "images.ids.npy"])
def test_other_missing_or_cut_files_are_not_used(written: Path, name: str) -> None:
    assert generation(written, bits=128) is None
    assert generation(written, Kind.TEXT) is None
    whole = (written / name).read_bytes()
    for length in (0, 5, 40, len(whole) // 2, len(whole) - 1):
        (written / name).write_bytes(whole[:length])
        assert generation(written) is None
    (written / name).unlink()
    assert generation(written) is None
    assert len(FaissCodeIndex(written, Kind.IMAGE, 256)) == 0


@pytest.mark.parametrize("name", ["images.faiss", "images.ids.npy"])
def test_a_flipped_bit_is_found_by_the_content_check(written: Path, name: str) -> None:
    whole = bytearray((written / name).read_bytes())
    whole[len(whole) // 2] ^= 1
    (written / name).write_bytes(whole)
    assert generation(written, check_content=True) is None


def test_a_flipped_bit_in_small_files_is_always_found(written: Path) -> None:
    whole = bytearray((written / "images.ids.npy").read_bytes())
    whole[200] ^= 1
    (written / "images.ids.npy").write_bytes(whole)
    assert generation(written) is None


def test_a_link_is_never_written_through(written: Path) -> None:
    """An archive that was unpacked may bring links in place of the temporary files, or of the files themselves."""
    (written / "precious").write_text("precious")
    for name in ("images.faiss.tmp", "images.ids.npy.tmp"):
        (written / name).symlink_to("precious")
    (written / "images.faiss").unlink()
    (written / "images.faiss").symlink_to("precious")
    write(written, *random_codes(10, 256), GENERATION)
    assert (written / "precious").read_text() == "precious"
    assert sorted(path.name for path in written.iterdir()) == ["images.faiss", "images.ids.npy", "precious"]
    assert not (written / "images.faiss").is_symlink()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(written: Path) -> None:
    (written / "images.faiss").unlink()
    os.mkfifo(written / "images.faiss")
    assert generation(written) is None


@pytest.mark.skipif(sys.platform != "linux", reason="file systems of other systems refuse such names")
def test_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"bad\xff")
    folder.mkdir()
    write(folder, *random_codes(10, 256), GENERATION)
    assert generation(folder, check_content=True) == GENERATION


def test_other_files_of_faiss_are_not_used(written: Path) -> None:
    """FAISS reads any kind of index that a file says it holds."""
    whole = (written / "images.faiss").read_bytes()
    (written / "images.faiss").write_bytes(b"IBHN" + whole[4:])
    assert generation(written) is None


def test_files_of_two_generations_are_not_mixed(written: Path) -> None:
    """A kill between the two renames, or a reader between them."""
    old_ids = (written / "images.ids.npy").read_bytes()
    write(written, *random_codes(3000, 256, seed=5), GENERATION + 1)
    (written / "images.ids.npy").write_bytes(old_ids)
    assert generation(written) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mapped_search_copies_nothing_into_memory(tmp_path: Path) -> None:
    """One million codes are 32 MB; a search of them may add 4 MB of memory of its own."""
    ids, codes = random_codes(1_000_000, 256)
    write(tmp_path, ids, codes, 1)
    program = f"""
import numpy as np
from pathlib import Path
from hashcli.hashmodel.codes import pack
from hashcli.index.catalog import Kind
from hashcli.index.code_index import FaissCodeIndex
from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.ranking import rank

def own_memory():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

before = own_memory()
output = np.random.default_rng(0).standard_normal(256).astype(np.float32)
(candidates,) = FaissCodeIndex(Path({str(tmp_path)!r}), Kind.IMAGE, 256).search(pack(output[None]), 10, 1000)
rank(candidates, output, 1000, DistanceLimit())
print(own_memory() - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert grown < 4096
