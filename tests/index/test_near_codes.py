"""Pairs of near codes, against a plain count of bits."""

import numpy as np
import pytest

from hashcli.index import near_codes
from hashcli.index.near_codes import near_pairs


def test_no_codes_are_near_nothing() -> None:
    assert near_pairs(np.empty((0, 16), np.uint8), 3, np.empty((0, 7, 16), np.uint8)).shape == (0, 2)
    assert near_pairs(np.zeros((1, 16), np.uint8), 3, np.zeros((1, 7, 16), np.uint8)).shape == (0, 2)


def drawn_near_each_other(count: int, bits: int = 128) -> np.ndarray:
    """Packed codes, three of four of them random, and the others within about an eighth of the bits of one of these."""
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 2, (count, bits), dtype=np.uint8)
    copies = count // 4
    codes[-copies:] = codes[:copies] ^ (rng.random((copies, bits)) < 0.06)
    return np.packbits(codes, axis=1)


def counted(codes: np.ndarray, distance: int, queries: np.ndarray) -> set[tuple[int, int]]:
    pairs: set[tuple[int, int]] = set()
    for row, query in enumerate(queries):
        away = np.bitwise_count(codes[None] ^ query[:, None]).sum(2, dtype=int).min(0)
        pairs |= {
            (min(row, other), max(row, other)) for other in np.flatnonzero(away <= distance).tolist() if other != row
        }
    return pairs


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    return {(first, second) for first, second in pairs.tolist()}


@pytest.mark.parametrize("bits", [32, 64, 256])
def test_pairs_are_those_a_count_of_bits_finds(bits: int) -> None:
    codes = drawn_near_each_other(400, bits)
    distance = bits // 5
    queries = np.stack([codes, np.roll(codes, 1, axis=1)], axis=1)
    expected = counted(codes, distance, queries)
    assert len(expected) >= 100
    assert as_set(near_pairs(codes, distance, queries)) == expected


@pytest.mark.parametrize("bits", [32, 128, 256])
def test_of_many_codes_nearly_all_pairs_are_found_and_no_others(monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    monkeypatch.setattr(near_codes, "_EVERY_TWO", 100)
    codes = drawn_near_each_other(3000, bits)
    queries = np.stack([np.roll(codes, 1, axis=1), codes], axis=1)
    expected = counted(codes, bits // 8, queries)
    pairs = as_set(near_pairs(codes, bits // 8, queries))
    assert pairs <= expected
    assert len(pairs) >= 0.98 * len(expected) > 500


def test_of_many_codes_far_pairs_are_found_by_comparing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_codes, "_EVERY_TWO", 100)
    codes = drawn_near_each_other(300)
    assert as_set(near_pairs(codes, 30, codes[:, None])) == counted(codes, 30, codes[:, None])


@pytest.mark.parametrize("exact_up_to", [100, 10_000])
@pytest.mark.parametrize("flips", [0, 1])
def test_thousands_of_near_codes_take_no_more_room_than_others(
    monkeypatch: pytest.MonkeyPatch, exact_up_to: int, flips: int
) -> None:
    """All of them hang together, and one that is nearer than the others is among the pairs."""
    monkeypatch.setattr(near_codes, "_EVERY_TWO", exact_up_to)
    monkeypatch.setattr(near_codes, "_AT_ONCE", 1000)
    rng = np.random.default_rng(0)
    count = 3000
    codes = np.packbits(np.repeat(rng.integers(0, 2, (1, 128), dtype=np.uint8), count, 0), axis=1)
    if flips:  # each is some 12 bits from the others, the first two are one bit from each other
        codes ^= np.packbits(rng.random((count, 128)) < 0.05, axis=1)
        codes[1] = codes[0] ^ np.eye(1, 16, dtype=np.uint8)[0]
    pairs = near_pairs(codes, 16, codes[:, None])
    assert count < len(pairs) <= 32 * count
    if flips:
        assert [0, 1] in pairs.tolist()
    leader = np.arange(count)
    for _ in range(20):
        np.minimum.at(leader, pairs[:, 1], leader[pairs[:, 0]])
        np.minimum.at(leader, pairs[:, 0], leader[pairs[:, 1]])
    assert not leader.any()
