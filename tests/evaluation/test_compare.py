"""Runs are compared by method and code length, over seeds, and never where they do not go together."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hashcli.errors import HashcliError
from hashcli.evaluation.compare import ComparedMetric, compare, find_runs, joint_curves
from tests.evaluation.saved import save_codes, save_run


def by_name(metrics: list[ComparedMetric]) -> dict[tuple[str, int, str], ComparedMetric]:
    return {(one.label, one.bits, one.direction): one for one in metrics}


def two_methods(folder: Path) -> None:
    """CKDH with and without its teacher, seeds 0 to 2; seed 2 of the ablation is not finished."""
    for seed in (0, 1, 2):
        save_run(folder / f"ckdh-{seed}", seed, value=0.5 + 0.1 * seed)
        save_run(folder / f"without-{seed}", seed, value=0.4 + 0.05 * seed, distil=False)
    (folder / "without-2" / "metrics.json").unlink()


def test_mean_deviation_and_the_gain_seed_by_seed(tmp_path: Path) -> None:
    two_methods(tmp_path)
    comparison = compare(find_runs([tmp_path]))
    assert list(comparison.runs) == ["ckdh", "ckdh, distil=false"]
    assert comparison.bits == [16, 32]
    metrics = by_name(comparison.metrics)
    full = metrics["ckdh", 16, "image to text"]
    assert full.values.by_seed == {0: 0.5, 1: 0.6, 2: 0.7}
    assert full.values.mean == pytest.approx(0.6)
    assert full.values.deviation == pytest.approx(0.1)  # n - 1
    assert full.baseline == "ckdh, distil=false"
    assert full.gain
    assert full.gain.by_seed == pytest.approx({0: 0.1, 1: 0.15})
    assert full.chance == 0.3
    assert metrics["ckdh, distil=false", 16, "text to image"].gain is None


def test_a_named_baseline_is_that_of_all(tmp_path: Path) -> None:
    two_methods(tmp_path / "ckdh")
    for seed in (0, 1):
        save_run(tmp_path / f"soda-{seed}", seed, value=0.8, method="soda")
    runs = find_runs([tmp_path])
    metrics = by_name(compare(runs, "ckdh").metrics)
    gain = metrics["soda", 32, "image to text"].gain
    assert gain
    assert gain.by_seed == pytest.approx({0: 0.3, 1: 0.2})
    assert metrics["ckdh", 32, "image to text"].gain is None
    with pytest.raises(HashcliError, match=r"None of the runs is 'coda'\. There are: ckdh; ckdh, distil=false; soda"):
        compare(runs, "coda")


def test_the_settings_that_differ_are_named(tmp_path: Path) -> None:
    for hidden in (16, 512):
        save_run(tmp_path / str(hidden), 0, value=0.5, hidden=hidden)
    save_run(tmp_path / "soda", 0, value=0.5, method="soda", hidden=64)
    labels = list(compare(find_runs([tmp_path / "16", tmp_path / "512", tmp_path / "soda"])).runs)
    assert labels == ["ckdh, hidden=16", "ckdh, hidden=512", "soda"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dataset": "other"}, "differ in their dataset"),
        ({"protocol": "other"}, "differ in their protocol"),
        ({"split": "other"}, "differ in their split of seed 0"),
        ({}, "the same settings, code length and seed"),
    ],
)
def test_what_does_not_go_together_is_not_compared(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    for name, facts in (("one", {}), ("two", changed)):
        save_run(tmp_path / name, 0, value=0.5)
        file = tmp_path / name / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    with pytest.raises(HashcliError, match=said):
        compare(find_runs([tmp_path]))


def test_code_lengths_in_runs_of_their_own_are_put_together(tmp_path: Path) -> None:
    save_run(tmp_path / "a", 0, value=0.5, bits=(16,))
    save_run(tmp_path / "b", 0, value=0.6, bits=(32,))
    comparison = compare(find_runs([tmp_path]))
    assert list(comparison.runs) == ["ckdh"]
    assert comparison.bits == [16, 32]


def test_folders_without_a_finished_run_say_so(tmp_path: Path) -> None:
    with pytest.raises(HashcliError, match="holds no run"):
        find_runs([tmp_path])
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(HashcliError, match="does not hold a run"):
        find_runs([tmp_path])
    save_run(tmp_path, 0, value=0.5)
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(HashcliError, match="None of the runs is finished"):
        compare(find_runs([tmp_path]))


def test_curves_are_means_over_the_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        save_run(tmp_path / f"ckdh-{seed}", seed, value=0.5)
        save_codes(tmp_path / f"ckdh-{seed}" / "codes-16.npz", seed)
        save_run(tmp_path / f"soda-{seed}", seed, value=0.5, method="soda")  # has no codes
    comparison = compare(find_runs([tmp_path]))
    curves = joint_curves(comparison, 16)
    assert list(curves) == ["ckdh"]
    one = joint_curves(compare(find_runs([tmp_path / "ckdh-0"])), 16)
    assert curves["ckdh"]["image to text"] != one["ckdh"]["image to text"]
    assert joint_curves(comparison, 32) == {}


def test_curves_in_the_unseen_database_are_drawn_where_all_runs_have_them(tmp_path: Path) -> None:
    for method in ("ckdh", "soda"):
        save_run(tmp_path / method, 0, value=0.5, method=method)
        saved = save_codes(tmp_path / method / "codes-16.npz")
    database = saved["database"].tolist()
    split = {"train": database[:10], "validation": database[10:12], "database": database}
    (tmp_path / "ckdh" / "split.json").write_text(json.dumps(split))
    comparison = compare(find_runs([tmp_path]))
    main = ["image to text", "text to image"]
    assert [list(own) for own in joint_curves(comparison, 16).values()] == [main, main]
    (tmp_path / "soda" / "split.json").write_text(json.dumps(split))
    curves = joint_curves(comparison, 16)
    assert list(curves["soda"]) == [*main, *(f"{way}, unseen database" for way in main)]
    pytest.importorskip("matplotlib")
    from hashcli.evaluation.plots import plot_compared

    plot_compared(curves, tmp_path / "joint.png", "both", by_rank=False)
    with Image.open(tmp_path / "joint.png") as picture:
        assert picture.height > 0.8 * picture.width  # two rows of two
