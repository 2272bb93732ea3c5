"""Near codes, and pairs of them, against a plain count of bits."""

import numpy as np
import pytest

from hashcli.index import near_codes
from hashcli.index.near_codes import near_pairs, neighbours_within


@pytest.mark.parametrize("bits", [32, 64, 256])
def test_neighbours_within_are_those_a_count_of_bits_finds(bits: int) -> None:
    """Of codes drawn near each other, equal ones among them, and more than one block of them."""
    rng = np.random.default_rng(bits)
    centres = rng.integers(0, 2, (40, bits))
    rows = centres[rng.integers(0, 40, 300)] ^ (rng.random((300, bits)) < 0.04)
    codes = np.packbits(rows, axis=1, bitorder="little")
    distances = (rows[:, None] != rows[None]).sum(-1)
    found = list(neighbours_within(codes, bits // 16))
    assert len(found) == len(codes)
    assert sum(len(others) for others, _ in found) > 300
    for row, (others, away) in enumerate(found):
        expected = np.flatnonzero((distances[row] <= bits // 16) & (np.arange(len(codes)) != row))
        np.testing.assert_array_equal(np.sort(others), expected)
        np.testing.assert_array_equal(away, distances[row, others])


def test_no_codes_are_near_nothing() -> None:
    assert list(neighbours_within(np.empty((0, 8), np.uint8), 3)) == []
    assert near_pairs(np.empty((0, 16), np.uint8), 3, np.empty((0, 7, 16), np.uint8)).shape == (0, 2)


def drawn_near_each_other(count: int, seed: int = 0) -> np.ndarray:
    """Codes of 128 bits, three of four of them random, and the others within about 16 bits of one of these."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2, (count, 128), dtype=np.uint8)
    copies = count // 4
    codes[-copies:] = codes[:copies] ^ (rng.random((copies, 128)) < 0.06)
    return np.packbits(codes, axis=1)


def counted(codes: np.ndarray, distance: int, queries: np.ndarray) -> set[tuple[int, int]]:
    pairs: set[tuple[int, int]] = set()
    for row, query in enumerate(queries):
        away = np.bitwise_count(codes[None] ^ query[:, None]).sum(2, dtype=int).min(0)
        pairs |= {
            (min(row, other), max(row, other)) for other in np.flatnonzero(away <= distance).tolist() if other != row
        }
    return pairs


def test_pairs_are_those_a_count_of_bits_finds() -> None:
    codes = drawn_near_each_other(400)
    queries = np.stack([codes, np.roll(codes, 1, axis=1)], axis=1)
    pairs = near_pairs(codes, 24, queries)
    expected = counted(codes, 24, queries)
    assert len(expected) >= 100
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    assert len(pairs) == len(expected)


def test_tables_find_nearly_all_pairs_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_codes, "_EXACT", 100)
    monkeypatch.setattr(near_codes, "_AT_ONCE", 1000)
    codes = drawn_near_each_other(3000)
    expected = counted(codes, 16, codes[:, None])
    pairs = {tuple(pair) for pair in near_pairs(codes, 16, codes[:, None]).tolist()}
    assert pairs <= expected
    assert len(pairs) >= 0.97 * len(expected) > 700
    assert {tuple(pair) for pair in near_pairs(codes, 16, codes[:, None], is_exact=True).tolist()} == expected
