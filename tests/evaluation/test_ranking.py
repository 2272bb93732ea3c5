"""The metrics, by hand and against plain loops."""

import itertools

import numpy as np
import pytest

from hashcli.evaluation import ranking
from hashcli.evaluation.ranking import (
    POOLED_PRECISION_WITHIN,
    POOLED_RECALL_WITHIN,
    PRECISION_AT,
    PRECISION_OVER_RANKS,
    PRECISION_WITHIN,
    PRECISION_WITHIN_FOUND,
    RECALL_OVER_RANKS,
    RECALL_WITHIN,
    Ranked,
    chance_of_average_precision,
    chance_of_cut_average_precision,
    chance_of_first_relevant_precision,
    chance_of_recall,
    evaluate_labels,
    evaluate_neighbours,
    evaluate_pairs,
    hamming_distances,
    tie_averaged_precision,
)


def loop_average_precision(ranked: list[bool]) -> float:
    """AP = (1 / R) sum over the relevant items of j / rank_j."""
    ranks = [rank for rank, relevant in enumerate(ranked, start=1) if relevant]
    return sum(j / rank for j, rank in enumerate(ranks, start=1)) / len(ranks) if ranks else 0.0


def test_average_precision_by_hand() -> None:
    """Relevant at ranks 1, 3 and 4: (1/1 + 2/3 + 3/4) / 3. A query with nothing relevant counts 0."""
    ranked = np.array([[1, 0, 1, 1], [0, 0, 0, 0]], bool)
    assert Ranked(ranked).average_precision().tolist() == pytest.approx([(1 + 2 / 3 + 3 / 4) / 3, 0])


def test_the_two_conventions_of_map_at_k_differ_as_documented() -> None:
    """Relevant at ranks 2, 5 and 6, k = 2. Cut: only rank 2 is seen, (1/2) / 1. First relevant: (1/2 + 2/5) / 2."""
    ranked = np.array([[0, 1, 0, 0, 1, 1]], bool)
    assert Ranked(ranked).average_precision(2)[0] == pytest.approx(1 / 2)
    assert Ranked(ranked).first_relevant_precision(2)[0] == pytest.approx((1 / 2 + 2 / 5) / 2)
    assert Ranked(ranked).first_relevant_precision(99)[0] == pytest.approx(loop_average_precision(ranked[0].tolist()))


def test_tie_averaged_precision_is_the_mean_over_all_orders() -> None:
    """Distances 0, 1, 1, 1, 2 with the relevant items at 1, 1 and 2: all 3! orders of the tie, by brute force."""
    orders = [loop_average_precision([False, *tie, True]) for tie in itertools.permutations([True, True, False])]
    items, hits = np.array([[1, 3, 1, 0]]), np.array([[0, 2, 1, 0]])
    assert tie_averaged_precision(items, hits)[0] == pytest.approx(np.mean(orders))


def test_chance_is_the_mean_over_all_orders() -> None:
    orders = [list(order) for order in itertools.permutations([True, True, False, False, False])]
    whole = np.mean([loop_average_precision(order) for order in orders])
    assert chance_of_average_precision(np.array([2]), 5)[0] == pytest.approx(whole)
    cut = np.mean([loop_average_precision(order[:3]) for order in orders])
    assert chance_of_cut_average_precision(np.array([2]), 5, 3)[0] == pytest.approx(cut)
    assert chance_of_recall(np.array([2]), 5, 3)[0] == pytest.approx(np.mean([any(order[:3]) for order in orders]))
    for k in (1, 2):
        first = Ranked(np.array(orders)).first_relevant_precision(k).mean()
        assert chance_of_first_relevant_precision(np.array([2, 0]), 5, k) == pytest.approx([first, 0])


def test_chance_of_large_databases_stays_a_probability() -> None:
    relevant = np.array([0, 1, 95_000, 190_000])
    assert chance_of_cut_average_precision(relevant, 190_000, 50)[[0, 3]].tolist() == pytest.approx([0, 1])
    assert chance_of_average_precision(relevant, 190_000)[2] == pytest.approx(0.5, abs=1e-3)
    rare = chance_of_first_relevant_precision(relevant, 190_000, 5_000)
    assert rare[[0, 3]].tolist() == pytest.approx([0, 1])
    assert rare[2] == pytest.approx(0.5, abs=1e-3)


def random_problem(queries: int, n: int, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (queries + n, bits // 8), dtype=np.uint8)
    labels = (rng.random((queries + n, 6)) < 0.15).astype(np.uint8)
    return codes[:queries], labels[:queries], codes[queries:], labels[queries:]


@pytest.mark.parametrize("bits", [16, 64])
def test_all_metrics_against_plain_loops(bits: int) -> None:
    query_codes, query_labels, codes, labels = random_problem(40, 200, bits)
    report = evaluate_labels(query_codes, query_labels, codes, labels, cuts=(50,), precision_at=(10, 500))
    expected: dict[str, list[float]] = {"mAP@all": [], "mAP@50 (cut, DJSRH)": [], "precision@10": []}
    radius_8, share_within_8 = [], []
    for code, own in zip(query_codes, query_labels, strict=True):
        distances = [sum(int(a ^ b).bit_count() for a, b in zip(code, other, strict=True)) for other in codes]
        order = sorted(range(len(codes)), key=lambda row: (distances[row], row))
        ranked = [bool((own & labels[row]).any()) for row in order]
        expected["mAP@all"].append(loop_average_precision(ranked))
        expected["mAP@50 (cut, DJSRH)"].append(loop_average_precision(ranked[:50]))
        expected["precision@10"].append(sum(ranked[:10]) / 10)
        near = [relevant for relevant, row in zip(ranked, order, strict=True) if distances[row] <= 8]
        radius_8.append(sum(near) / len(near) if near else 0)
        share_within_8.append(len(near) / len(codes) if any(ranked) else 0)
    metrics = {metric.name: metric.value for metric in report.metrics}
    for name, values in expected.items():
        assert metrics[name] == pytest.approx(np.mean(values)), name
    assert "precision@500" not in metrics  # the database holds 200
    by_name = {curve.name: curve for curve in report.curves}
    precision, recall, first = by_name[PRECISION_WITHIN], by_name[RECALL_WITHIN], by_name[PRECISION_AT]
    assert precision.values[8] == pytest.approx(np.mean(radius_8))
    assert recall.values[-1] == pytest.approx(np.mean([(own @ labels.T).any() for own in query_labels]))
    assert recall.chance[8] == pytest.approx(np.mean(share_within_8))
    assert (first.x[0], first.x[-1]) == (1, 200)
    assert first.values[9] == pytest.approx(metrics["precision@10"])
    assert first.values[-1] == pytest.approx(first.chance[-1])  # of the whole database, any order is as good


@pytest.mark.parametrize("bits", [16, 64])
def test_the_other_conventions_against_plain_loops(bits: int) -> None:
    """Queries without a relevant item, and queries that find nothing nearby, among them."""
    query_codes, query_labels, codes, labels = random_problem(40, 200, bits)
    query_labels[:5] = 0
    radius = bits // 3
    report = evaluate_labels(query_codes, query_labels, codes, labels)
    metrics = {metric.name: metric for metric in report.metrics}
    curves = {curve.name: curve for curve in report.curves}
    with_relevant, lookup = [], []
    near_items, near_hits, near_shares, all_relevant = [], [], [], []
    at_rank: dict[int, list[tuple[float, float]]] = {rank: [] for rank in curves[PRECISION_OVER_RANKS].x}
    for code, own in zip(query_codes, query_labels, strict=True):
        distances = np.array([sum(int(a ^ b).bit_count() for a, b in zip(code, one, strict=True)) for one in codes])
        order = np.lexsort((np.arange(200), distances))
        relevant = (labels & own).any(axis=1)
        total = int(relevant.sum())
        if total:
            with_relevant.append(loop_average_precision(relevant[order].tolist()))
        within_2 = relevant[distances <= 2]
        lookup.append(within_2.mean() if len(within_2) else 0)
        near_items.append(int((distances <= radius).sum()))
        near_hits.append(int(relevant[distances <= radius].sum()))
        near_shares.append(near_items[-1] * total / 200)
        all_relevant.append(total)
        for rank, values in at_rank.items():
            hits = int(relevant[order][:rank].sum())
            values.append((hits / rank, hits / total if total else 0))
    assert 0 < len(with_relevant) < 36
    ucch = metrics["mAP@all (answerable queries, UCCH)"]
    assert ucch.value == pytest.approx(np.mean(with_relevant))
    assert ucch.chance == pytest.approx(metrics["mAP@all"].chance * 40 / len(with_relevant))
    assert metrics["precision within radius 2 (0 if empty)"].value == pytest.approx(np.mean(lookup))
    found = [hits / items for hits, items in zip(near_hits, near_items, strict=True) if items]
    assert 0 < len(found) < 40 or bits == 16
    assert curves[PRECISION_WITHIN_FOUND].values[radius] == pytest.approx(np.mean(found))
    assert curves[PRECISION_WITHIN_FOUND].values[0] == 0  # where no query finds anything
    assert curves[POOLED_PRECISION_WITHIN].values[radius] == pytest.approx(sum(near_hits) / sum(near_items))
    assert curves[POOLED_PRECISION_WITHIN].chance[radius] == pytest.approx(sum(near_shares) / sum(near_items))
    assert curves[POOLED_RECALL_WITHIN].values[radius] == pytest.approx(sum(near_hits) / sum(all_relevant))
    assert curves[POOLED_RECALL_WITHIN].values[-1] == pytest.approx(1)
    for place, values in enumerate(at_rank.values()):
        precision, recall = np.mean(values, axis=0)
        assert curves[PRECISION_OVER_RANKS].values[place] == pytest.approx(precision)
        assert curves[RECALL_OVER_RANKS].values[place] == pytest.approx(recall)
    assert curves[RECALL_OVER_RANKS].x[-1] == 200


def test_large_databases_are_taken_in_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures do not depend on the size of the blocks, which keeps the memory within bounds."""
    problem = random_problem(40, 200, 16)
    whole = evaluate_labels(*problem)
    monkeypatch.setattr(ranking, "_AT_ONCE", 3 * 200)
    parts = evaluate_labels(*problem)
    for one, other in zip(whole.metrics, parts.metrics, strict=True):
        assert one.value == pytest.approx(other.value)


def test_the_precision_curve_ends_at_a_thousand() -> None:
    report = evaluate_labels(*random_problem(3, 1200, 16))
    curve = next(curve for curve in report.curves if curve.name == PRECISION_AT)
    assert curve.x == list(range(1, 1001))


def test_useless_codes_score_at_chance() -> None:
    query_codes, query_labels, codes, labels = random_problem(300, 1000, 64)
    report = evaluate_labels(query_codes, query_labels, codes, labels, cuts=(50,), precision_at=(100,))
    for metric in report.metrics:
        assert metric.value == pytest.approx(metric.chance, abs=0.02), metric.name
    for curve in report.curves:
        first = (
            24 if curve.name in (PRECISION_WITHIN_FOUND, POOLED_PRECISION_WITHIN) else 0
        )  # few queries find any nearer
        assert curve.values[first:] == pytest.approx(curve.chance[first:], abs=0.06), curve.name


def test_perfect_codes_score_one() -> None:
    labels = np.eye(4, dtype=np.uint8)[np.arange(80) % 4]
    codes = np.packbits(np.repeat(labels, 4, axis=1), axis=1)
    report = evaluate_labels(codes, labels, codes, labels, cuts=(10,), precision_at=(20,))
    assert [metric.value for metric in report.metrics] == pytest.approx([1] * len(report.metrics))


def test_recall_by_hand() -> None:
    """Two photos, codes 0 and 255. Photo 0's captions lie at 1 and 7 bits from it, photo 1's on photo 0's code."""
    photos = np.array([[0], [255]], np.uint8)
    captions = np.array([[1], [127], [0]], np.uint8)
    report = evaluate_pairs(captions, np.array([0, 0, 1]), photos, np.array([0, 1]), recall_at=(1, 2))
    assert [metric.value for metric in report.metrics] == pytest.approx([1 / 3, 1])
    assert [metric.chance for metric in report.metrics] == pytest.approx([1 / 2, 1])
    assert hamming_distances(captions, photos).tolist() == [[1, 7], [7, 1], [0, 8]]


def test_a_query_without_an_own_item_finds_none() -> None:
    codes = np.zeros((3, 1), np.uint8)
    report = evaluate_pairs(codes, np.array([0, 1, 9]), codes, np.array([0, 1, 2]), recall_at=(1, 3, 5))
    assert [metric.value for metric in report.metrics] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert [metric.chance for metric in report.metrics] == pytest.approx([2 / 9, 2 / 3, 2 / 3])


def test_neighbours_found_against_a_plain_loop() -> None:
    """More queries than are taken in a block. Equal scores go by row; of five items, all are among the first ten."""
    rng = np.random.default_rng(0)
    outputs, codes = rng.standard_normal((50, 16)), rng.integers(0, 256, (40, 2), dtype=np.uint8)
    queries, items = rng.standard_normal((50, 6)), rng.standard_normal((40, 6))
    codes[20:] = codes[:20]
    (metric,) = evaluate_neighbours(outputs, queries, codes, items).metrics
    shares = []
    for output, query in zip(outputs, queries, strict=True):
        signs = [[1 if code[bit // 8] >> (bit % 8) & 1 else -1 for bit in range(16)] for code in codes.tolist()]
        scores = [sum(o * s for o, s in zip(output, one, strict=True)) for one in signs]
        first = sorted(range(40), key=lambda row: (-round(scores[row], 9), row))[:10]
        nearest = sorted(range(40), key=lambda row: -float(query @ items[row]))[:10]
        shares.append(len({*first} & {*nearest}) / 10)
    assert metric.value == pytest.approx(np.mean(shares))
    assert metric.chance == 0.25
    (few,) = evaluate_neighbours(outputs, queries, codes[:5], items[:5]).metrics
    assert (few.value, few.chance) == (1, 1)
