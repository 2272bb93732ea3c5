"""Codes of published code are measured like our own, and ours are written for that code."""

from pathlib import Path

import numpy as np
import pytest

from hashcli.arrays import as_string, read_arrays, write_arrays
from hashcli.errors import HashcliError
from hashcli.evaluation.peer_codes import read_peer_codes
from hashcli.evaluation.retrieval import read_codes
from tests.conftest import Run, json_rows
from tests.evaluation.saved import save_codes

Arrays = dict[str, np.ndarray]
SUFFIXES = [".npz", ".mat", ".h5"]


def need(suffix: str) -> None:
    for of, package in ((".mat", "scipy"), (".h5", "h5py")):
        if suffix == of:
            pytest.importorskip(package)


def peer_arrays(queries: int = 20, items: int = 60, bits: int = 16) -> Arrays:
    """Codes of -1 and +1 as DCHMT's code stores them, with three classes."""
    rng = np.random.default_rng(0)
    arrays = {}
    for prefix, count in (("q", queries), ("r", items)):
        for kind in ("img", "txt"):
            arrays[f"{prefix}_{kind}"] = rng.choice(np.array([-1.0, 1.0], np.float32), (count, bits))
        arrays[f"{prefix}_l"] = rng.integers(0, 2, (count, 3)).astype(np.float32)
    return arrays


def plain_map(query: np.ndarray, items: np.ndarray, query_labels: np.ndarray, labels: np.ndarray) -> float:
    """mAP@all by a plain loop over codes of -1 and +1; ties by row."""
    precisions = []
    for code, own in zip(query, query_labels, strict=True):
        order = np.argsort((query.shape[1] - items @ code) / 2, kind="stable")
        ranks = np.flatnonzero((labels[order] @ own) > 0) + 1
        precisions.append(float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) if len(ranks) else 0.0)
    return float(np.mean(precisions))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_their_codes_are_measured_by_all_conventions(hashcli: Run, tmp_path: Path, suffix: str) -> None:
    need(suffix)
    arrays = peer_arrays()
    write_arrays(tmp_path / f"theirs{suffix}", arrays)
    rows = json_rows(hashcli("evaluate", "--codes", f"theirs{suffix}", "--json"))
    values = {(row["direction"], row["metric"]): row["value"] for row in rows if "metric" in row}
    for direction, query, items in (
        ("image to text", "q_img", "r_txt"),
        ("text to image", "q_txt", "r_img"),
        ("image to image", "q_img", "r_img"),
    ):
        expected = plain_map(arrays[query], arrays[items], arrays["q_l"], arrays["r_l"])
        assert values[direction, "mAP@all"] == pytest.approx(expected), direction
    named = {metric for direction, metric in values if direction == "text to image"}
    assert {"mAP@50 (cut, DJSRH)", "mAP@50 (first 50 relevant, DCHMT)", "precision@10"} <= named
    assert (rows[0]["bits"], rows[0]["query"], rows[0]["database"]) == (16, 20, 60)


def test_other_names_and_values(hashcli: Run, tmp_path: Path) -> None:
    """Codes of 0 and 1, outputs before the sign, and numbers of single classes are the same codes and labels."""
    arrays = peer_arrays()
    classes = np.arange(60) % 3
    first = {"qB": arrays["q_img"], "rB": arrays["r_txt"], "qL": np.eye(3)[classes[:20]], "rL": np.eye(3)[classes]}
    bits = {"qB": first["qB"] > 0, "rB": (first["rB"] > 0).astype(np.uint8), "qL": classes[:20], "rL": classes}
    outputs = {"QB": 0.3 * first["qB"], "RB": 0.7 * first["rB"], "query_L": first["qL"], "retrieval_L": first["rL"]}
    printed = []
    for number, one in enumerate((first, bits, outputs)):
        np.savez(tmp_path / f"{number}.npz", **one)  # type: ignore[arg-type]
        printed.append(hashcli("evaluate", "--codes", f"{number}.npz").stdout)
    assert printed[0] == printed[1] == printed[2]
    assert printed[0].startswith("code to code\tmAP@all\t")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q_l": None}, "holds no labels under names that are known: it has q_img"),
        ({"q_img": None, "q_txt": None}, "holds no codes under names"),
        ({"q_img": np.ones((19, 16))}, r"kind image are \[19, 16\] and \[60, 16\], with labels of 20 and 60"),
        ({"q_img": np.ones((20, 12)), "r_img": np.ones((60, 12))}, r"kind image are float64 \[80, 12\]"),
        ({"q_img": np.full((20, 16), 3), "r_img": np.ones((60, 16))}, "kind image are from 1.0 to 3.0"),
        ({"q_l": np.ones((20, 4))}, r"the labels are \[20, 4\] and \[60, 3\]"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    arrays = {name: array for name, array in (peer_arrays() | change).items() if array is not None}
    np.savez(tmp_path / "theirs.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(HashcliError, match=message):
        read_peer_codes(tmp_path / "theirs.npz")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_our_codes_written_for_them_give_the_same_figures(hashcli: Run, tmp_path: Path, suffix: str) -> None:
    """With one text a photo, so that both have the same texts; the rows of the split are written as well."""
    need(suffix)
    arrays = save_codes(tmp_path / "codes-16.npz")
    arrays |= {"texts": arrays["texts"][::2], "text_rows": arrays["text_rows"][::2]}
    np.savez(tmp_path / "codes-16.npz", **arrays)  # type: ignore[arg-type]
    done = hashcli("evaluate", "--codes", "codes-16.npz", "--export", f"ours{suffix}", "--json")
    assert f"Written: ours{suffix}" in done.stderr
    again = json_rows(hashcli("evaluate", "--codes", f"ours{suffix}", "--json"))
    for ours, theirs in zip(json_rows(done), again, strict=True):
        assert {key: value for key, value in ours.items() if key != "codes"} == {
            key: value for key, value in theirs.items() if key != "codes"
        }
    written = read_arrays(tmp_path / f"ours{suffix}")
    assert set(np.unique(written["r_img"])) == {-1, 1}
    assert written["q_rows"].ravel().tolist() == arrays["query"].tolist()
    assert written["r_rows"].ravel().tolist() == arrays["database"].tolist()


def test_the_first_of_several_texts_is_written(hashcli: Run, tmp_path: Path) -> None:
    arrays = save_codes(tmp_path / "codes-16.npz")
    hashcli("evaluate", "--codes", "codes-16.npz", "--export", "ours.npz")
    saved, written = read_codes(tmp_path / "codes-16.npz"), read_peer_codes(tmp_path / "ours.npz")
    place = {row: number for number, row in enumerate(saved.codes.rows.tolist())}
    expected = [arrays["texts"][2 * place[row]].tolist() for row in arrays["query"].tolist()]
    assert written.codes.packed["text"][:10].tolist() == expected
    two = ("--codes", "codes-16.npz", "--codes", "codes-16.npz")
    assert "one run and one seed" in hashcli("evaluate", *two, "--export", "x.npz", status=2).stderr


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_and_strings_are_read_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    need(suffix)
    write_arrays(tmp_path / f"a{suffix}", {"numbers": np.arange(6).reshape(2, 3), "names": np.array(["ä", "bcd"])})
    read = read_arrays(tmp_path / f"a{suffix}")
    assert read["numbers"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [as_string(name) for name in read["names"].ravel()] == ["ä", "bcd"]
    assert set(read_arrays(tmp_path / f"a{suffix}", ["names", "none"])) == {"names"}


def test_arrays_go_to_known_kinds_of_files_only(tmp_path: Path) -> None:
    with pytest.raises(HashcliError, match=r"a\.txt is no file of arrays"):
        write_arrays(tmp_path / "a.txt", {})
    with pytest.raises(HashcliError, match=r"a\.npz cannot be written"):
        write_arrays(tmp_path / "none" / "a.npz", {"a": np.arange(2)})
