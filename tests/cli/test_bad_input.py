"""Whatever a command reads may be anything: each is an error that names the input, in no more than a moment."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from hashcli.cli import photo_source
from tests.conftest import Run, make_tiny_model
from tests.index.indexing import IndexFolder, make_album

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
DEEP = "[" * 100_000
LONG_NUMBER = "9" * 5000


@pytest.fixture
def index(tmp_path: Path, tiny_model: Path) -> Path:
    index = IndexFolder(tmp_path / "ix", tiny_model)
    index.update(make_album(tmp_path / "photos"))
    return index.folder


def is_said(hashcli: Run, *arguments: object, names: str, stdin: str = "") -> str:
    done = hashcli(*arguments, status=None, stdin=stdin)
    assert done.returncode in (1, 2, 3)
    assert names in done.stderr
    assert "This should not happen" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("line", ['{"text": ' + DEEP + "}", '{"text": ' + LONG_NUMBER + "}", '{"text": NaN}', "{"])
def test_a_batch_line_that_no_query_can_be(hashcli: Run, index: Path, line: str) -> None:
    is_said(hashcli, "search", "--index", index, "--batch", "-", stdin=f"a cat\n{line}\n", names="stdin, line 2")


@pytest.mark.parametrize("line", [DEEP, '{"text": "a", "n": ' + LONG_NUMBER + "}", "{", '{"image": 1, "text": "x"}'])
def test_a_captions_line_that_no_caption_can_be(hashcli: Run, index: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "c.jsonl").write_text(line + "\n")
    is_said(hashcli, "index", "--index", index, "c.jsonl", names="c.jsonl")
    is_said(hashcli, "distill", "--dataset", "c.jsonl", "--teacher", "lite-256", "--out", "run", names="c.jsonl")


def npy(header: str) -> bytes:
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode()


ABSURD = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 8), }")


@pytest.mark.parametrize(
    "content",
    [
        ABSURD,
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 8), }"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 8), }"),
        npy("{" * 100),
        b"\x93NUMPY\x09\x00",
        b"",
        b"not an array at all",
    ],
)
def test_codes_that_no_array_can_be(hashcli: Run, index: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "codes.npy").write_bytes(content)
    is_said(hashcli, "search", "--index", index, "--batch", "codes.npy", names="codes.npy")


@pytest.mark.parametrize("line", [DEEP, "{", "5", '{"text": 5}', '{"path": ["a"]}'])
def test_names_of_codes_that_are_none(hashcli: Run, index: Path, tmp_path: Path, line: str) -> None:
    np.save(tmp_path / "codes.npy", np.zeros((1, 8), np.uint8))
    (tmp_path / "codes.jsonl").write_text(line + "\n")
    is_said(hashcli, "search", "--index", index, "--batch", "codes.npy", names="codes.jsonl, line 1")


def packed(**arrays: bytes | np.ndarray) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as content:
        for name, array in arrays.items():
            with content.open(f"{name}.npy", "w") as entry:
                if isinstance(array, bytes):
                    entry.write(array)
                else:
                    np.lib.format.write_array(entry, array)
    return file.getvalue()


SOUND: dict[str, bytes | np.ndarray] = {
    "rows": np.arange(4),
    "text_rows": np.arange(4),
    "photos": np.zeros((4, 8), np.uint8),
    "texts": np.zeros((4, 8), np.uint8),
    "query": np.array([0]),
    "database": np.array([1, 2, 3]),
}


@pytest.mark.parametrize(
    "changed",
    [
        {"photos": ABSURD},
        {"photos": np.zeros((4, 8), np.float32)},
        {"photos": np.zeros((3, 8), np.uint8)},
        {"photos": np.zeros((4, 9), np.uint8)},
        {"texts": np.zeros(4, np.uint8)},
        {"rows": np.array([3, 2, 1, 0])},
        {"text_rows": np.array([0, 1, 2, 10**15])},
        {"query": np.array([9])},
        {"query": np.array([], np.int64)},
        {"database": np.array(["a"])},
        {"labels": np.zeros((2, 3), np.uint8)},
        {"labels": np.zeros(4, np.uint8)},
    ],
)
def test_a_runs_codes_that_do_not_fit_together(
    hashcli: Run, tmp_path: Path, changed: dict[str, bytes | np.ndarray]
) -> None:
    (tmp_path / "codes-64.npz").write_bytes(packed(**SOUND))
    hashcli("evaluate", "--codes", "codes-64.npz")
    (tmp_path / "codes-64.npz").write_bytes(packed(**SOUND | changed))
    is_said(hashcli, "evaluate", "--codes", "codes-64.npz", names="codes-64.npz")


@pytest.mark.parametrize("run", [DEEP, "[]", "{}", '{"config": 5}', LONG_NUMBER])
def test_a_runs_description_that_is_none(hashcli: Run, tmp_path: Path, run: str) -> None:
    (tmp_path / "codes-64.npz").write_bytes(packed(**SOUND))
    (tmp_path / "run.json").write_text(run)
    is_said(hashcli, "evaluate", "--codes", "codes-64.npz", names="run.json")


@pytest.mark.parametrize(
    "toml", ["a = " + DEEP, "k = " + LONG_NUMBER, "[search]\nk = 'many'", "\0", "[search]\nk = 1e300"]
)
def test_a_config_file_that_is_none(hashcli: Run, tmp_path: Path, toml: str) -> None:
    (tmp_path / "config.toml").write_text(toml)
    (tmp_path / "photos").mkdir()
    done = hashcli("search", "cat", status=2, HASHCLI_CONFIG=str(tmp_path / "config.toml"))
    assert "config.toml" in done.stderr


def test_settings_that_are_no_toml(hashcli: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("a = " + DEEP)
    (tmp_path / "c.jsonl").write_text('{"image": "a.jpg", "text": "a dog"}\n')
    is_said(hashcli, "distill", "--config", "s.toml", "--dataset", "c.jsonl", names="s.toml")


# --- hash models ---


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bits", "64"),
        ("bits", 64.0),
        ("bits", 10**9),
        ("bits", True),
        ("name", 5),
        ("image.size", 0),
        ("image.size", 10**9),
        ("image.size", "8"),
        ("image.file", "../tiny/image.onnx"),
        ("image.file", None),
        ("image.resize", "stretch"),
        ("image.interpolation", ["bicubic"]),
        ("text.max_tokens", 0),
        ("text.max_tokens", 2.5),
        ("text.tokenizer", "a\0b"),
        ("files", []),
        ("files", {"image.onnx": 5}),
        ("metrics", 5),
        ("metrics", [{"name": "a", "dataset": "b", "value": "high", "chance": 0}]),
        ("match", {"distance": "near", "miss_rate": 0, "false_alarm_rate": 0, "photos": 1}),
        ("format", [1]),
    ],
)
def test_a_hash_model_whose_description_makes_no_sense(hashcli: Run, tmp_path: Path, key: str, value: object) -> None:
    folder = make_tiny_model(tmp_path / "tiny", seed=0)
    content = json.loads((folder / "model.json").read_text())
    *parents, last = key.split(".")
    part = content
    for parent in parents:
        part = part[parent]
    part[last] = value
    (folder / "model.json").write_text(json.dumps(content))
    is_said(hashcli, "encode", "--model", folder, "--text", "cat", names="model.json")


@pytest.mark.parametrize("content", [DEEP, LONG_NUMBER, "[]", "5", "\ufeff{}", ""])
def test_a_description_that_is_none(hashcli: Run, tmp_path: Path, content: str) -> None:
    folder = make_tiny_model(tmp_path / "tiny", seed=0)
    (folder / "model.json").write_text(content)
    is_said(hashcli, "info", "--model", folder, names="model.json")


@pytest.mark.parametrize("file", ["image.onnx", "text.onnx", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"\xff" * 500, b"{}", DEEP.encode()])
def test_a_hash_model_that_was_damaged_after_indexing(
    hashcli: Run, tmp_path: Path, tiny_model: Path, file: str, content: bytes
) -> None:
    """A search does not read all of it to see whether it is whole."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    index = IndexFolder(tmp_path / "ix", folder)
    index.update(make_album(tmp_path / "photos"))
    (folder / file).write_bytes(content)
    query = ("--image", "photos/chelsea.png") if file == "image.onnx" else ("a cat",)
    is_said(hashcli, "search", "--index", "ix", *query, names=str(folder))


def test_encoders_that_give_something_else(hashcli: Run, tmp_path: Path, tiny_model: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    index = IndexFolder(tmp_path / "ix", folder)
    index.update(make_album(tmp_path / "photos"))
    shutil.copy(folder / "image.onnx", folder / "text.onnx")
    is_said(hashcli, "search", "--index", "ix", "a cat", names=str(folder))


# --- what never ends ---


@needs_pipes
def test_pipes_and_devices_are_not_read(hashcli: Run, index: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("pipe.jpg", "/dev/zero"):
        assert "not a plain file" in is_said(hashcli, "search", "--index", index, "--image", name, names=name)
        assert "not a plain file" in is_said(hashcli, "encode", name, names=name)
    (tmp_path / "c.jsonl").write_text('{"image": "pipe.jpg", "text": "a dog"}\n')
    hashcli("index", "--index", index, "c.jsonl")
    hashcli("search", "--index", index, "--for", "texts", "a dog", "--all", "--html", "page.html")
    assert (tmp_path / "page.html").exists()


@needs_pipes
def test_a_list_of_patterns_that_is_a_pipe_is_not_waited_for(hashcli: Run, index: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photos" / ".hashcliignore")
    hashcli("index", "--index", index, "photos")


@needs_pipes
@pytest.mark.parametrize("file", ["model.json", "image.onnx", "text.onnx"])
def test_a_hash_model_of_pipes_is_not_waited_for(hashcli: Run, tmp_path: Path, tiny_model: Path, file: str) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    (folder / file).unlink()
    os.mkfifo(folder / file)
    is_said(hashcli, "encode", "--model", folder, "--text", "cat", names="tiny")


@pytest.mark.parametrize("dripping", [b"HTTP/1.0 200 OK\r\n\r\nx", b"HTTP/1.0 200 OK\r\nX-1: y\r\n", b""])
def test_a_server_that_takes_its_time_has_one_deadline_for_all(
    hashcli: Run, index: Path, monkeypatch: pytest.MonkeyPatch, dripping: bytes
) -> None:
    monkeypatch.setattr(photo_source, "URL_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            try:
                connection.sendall(dripping)
                for _ in range(100):
                    connection.sendall(b"x")
                    time.sleep(0.1)
            except OSError:
                pass

        Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/cat.jpg"
        assert "did not arrive within 0.5 seconds" in is_said(
            hashcli, "search", "--index", index, "--image", url, names=url
        )


# --- names that are not UTF-8, and Ctrl-C ---


@pytest.mark.skipif(sys.platform != "linux", reason="file systems of other systems refuse such names")
@pytest.mark.parametrize(
    "locale", [{}, {"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_an_index_in_a_folder_with_an_odd_name(
    hashcli_process: Run, tmp_path: Path, tiny_model: Path, locale: dict[str, str]
) -> None:
    photos = make_album(tmp_path / os.fsdecode(b"bad\xff \xc3\xa9"))
    folder = photos / ".hashcli"
    hashcli_process("index", "--index", folder, "--model", tiny_model, photos, **locale)
    assert (folder / "images.faiss").exists()
    hashcli_process("info", "--check", "--index", folder, **locale)
    assert hashcli_process("search", "a cat", "--all", "--index", folder, **locale).stdout


@pytest.mark.parametrize("module", ["typer", "hashcli.cli.search", "numpy", "numpy._core.multiarray", "faiss"])
def test_ctrl_c_while_it_is_being_loaded_shows_no_traceback(index: Path, module: str, tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
class CtrlC:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, CtrlC())
sys.argv = ["hashcli", "search", "--index", {str(index)!r}, "a cat"]
from hashcli.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")  # results may have been printed before the import was over
