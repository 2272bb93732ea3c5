"""Codes and metrics as a run of `hashcli distill` keeps them."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def save_codes(path: Path, seed: int = 0, bits: int = 16, labelled: bool = True) -> dict[str, np.ndarray]:
    """Random codes of 40 of 50 photos, two texts each; 10 photos are queries."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(50)[:40])
    order = rng.permutation(rows)
    arrays: dict[str, np.ndarray] = {
        "rows": rows,
        "photos": rng.integers(0, 256, (40, bits // 8), dtype=np.uint8),
        "texts": rng.integers(0, 256, (80, bits // 8), dtype=np.uint8),
        "text_rows": rows.repeat(2),
        "query": order[:10],
        "database": order[10:] if labelled else order[:10],
    }
    if labelled:
        arrays["labels"] = rng.integers(0, 2, (50, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return arrays


def save_run(
    folder: Path,
    seed: int,
    value: float,
    method: str = "ckdh",
    bits: tuple[int, ...] = (16, 32),
    unseen: float | None = None,
    **settings: Any,
) -> None:
    """A finished run whose mAP@all is `value`, in both directions and at all lengths, and 0.1 on validation photos.

    With `unseen`, that is the mAP@all in the unseen database.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {"method": method, "seed": seed, "bits": list(bits), "distil": True} | settings
    facts = {"config": config, "dataset": "mine", "protocol": "ours", "split": f"split {seed}"}
    (folder / "run.json").write_text(json.dumps(facts))
    rows = [
        {"of": of, "bits": length, "direction": direction, "name": "mAP@all", "value": own, "chance": 0.3}
        for length in bits
        for of, own in (("validation", 0.1), (method, value))
        for direction in ("image to text", "text to image")
    ]
    if unseen is not None:
        of_method = [row for row in rows if row["of"] == method]
        rows += [row | {"direction": f"{row['direction']}, unseen database", "value": unseen} for row in of_method]
    (folder / "metrics.json").write_text(json.dumps(rows))
