"""Codes as a run of `hashcli distill` keeps them."""

from pathlib import Path

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
