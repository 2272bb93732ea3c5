"""What the tests share: real photos, the real command, and a second, tiny hash model."""

import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from PIL import Image

from hashcli.hashmodel.description import Description, ImageEncoder, TextEncoder

SKIMAGE = Path(skimage.__file__).parent / "data"

# Public-domain and CC0 photos that scikit-image carries, and words for what each shows.
PHOTOS = {
    "astronaut.png": "a woman in a space suit",
    "chelsea.png": "a cat",
    "coffee.png": "a cup of coffee on a table",
    "rocket.jpg": "a rocket launch",
    "motorcycle_left.png": "a motorcycle in a garage",
    "camera.png": "a man with a camera on a tripod",
    "coins.png": "old coins",
    "clock_motion.png": "a clock",
    "moon.png": "the surface of the moon",
    "grass.png": "grass",
    "brick.png": "a brick wall",
    "hubble_deep_field.jpg": "stars and galaxies",
}

# A shell that starts the tests in the background lets them ignore Ctrl-C, and all that they start with them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Messages may hold file names that are not UTF-8. Reports with them cannot be sent from a worker of xdist."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of a dozen real photos, two of them one folder down."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    for name in PHOTOS:
        below = "trip" if name in ("rocket.jpg", "moon.png") else "."
        shutil.copy(SKIMAGE / name, folder / below / name)
    # Texts by programs, of which an update would say that they are left out.
    _remove_comment(folder / "trip" / "rocket.jpg")
    Image.open(folder / "astronaut.png").save(folder / "astronaut.png")
    return folder


def _remove_comment(jpeg: Path) -> None:
    """Take the first comment out of a JPEG, and leave the picture as it is."""
    content = jpeg.read_bytes()
    start = content.index(b"\xff\xfe")
    jpeg.write_bytes(content[:start] + content[start + 2 + int.from_bytes(content[start + 2 : start + 4]) :])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which the command's own data folder is empty, and which names no terminal."""
    own = {"HOME": str(tmp_path / "home"), "COLUMNS": "100"}
    own |= {f"XDG_{kind.upper()}_HOME": str(tmp_path / kind) for kind in ("data", "config", "cache")}
    left_out = ("TERM", "XDG_RUNTIME_DIR")
    kept = {key: value for key, value in os.environ.items() if key not in left_out and not key.startswith("HASHCLI")}
    return kept | own


@pytest.fixture
def hashcli(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Run the command line in this process, with `tmp_path` as working directory: what a process of its own would do,
    without the time it takes to start one. `hashcli_process` starts one."""

    def run(
        *arguments: object, status: int | None = 0, stdin: str = "", cwd: Path = tmp_path, **more: str
    ) -> subprocess.CompletedProcess[str]:
        assert "PYTHONPATH" not in more, "what a process of its own imports: use hashcli_process"
        command = ["hashcli", *map(str, arguments)]
        streams = [
            io.TextIOWrapper(io.BytesIO(given), "utf-8", "surrogateescape") for given in (stdin.encode(), b"", b"")
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(cwd)
            patch.setattr(sys, "argv", command)
            for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
                patch.setattr(sys, name, stream)
            for name in os.environ.keys() - environment.keys():
                patch.delenv(name)
            for name, value in (environment | more).items():
                patch.setenv(name, value)
            returncode = run_main()
        output, errors = (stream.buffer.getvalue().decode("utf-8", "backslashreplace") for stream in streams[1:])
        done = subprocess.CompletedProcess(command, returncode, output, errors)
        return checked(done, status)

    return run


def run_main() -> int:
    """Run the command line as sys.argv, sys.stdin and so on are now; its exit status."""
    from hashcli.cli import main
    from hashcli.cli.messages import logger, stderr

    try:
        with warnings.catch_warnings():
            main()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        logger.handlers = [stderr]  # no log file
        stderr.setLevel(logging.INFO)  # as in a new process
    return 0


@pytest.fixture
def hashcli_process(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Run the real command in a process of its own, with `tmp_path` as working directory."""

    def run(
        *arguments: object, status: int | None = 0, stdin: str = "", cwd: Path = tmp_path, **more: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "hashcli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment | more,
            check=False,
        )
        return checked(done, status)

    return run


def checked(done: subprocess.CompletedProcess[str], status: int | None) -> subprocess.CompletedProcess[str]:
    if status is not None:
        assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def json_rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What a command printed with --json."""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hash model of 64 bits: random projections of 8 x 8 pixels and of word vectors."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", seed=0)


def make_tiny_model(folder: Path, seed: int, bits: int = 64) -> Path:
    """Write a hash model folder whose weights are drawn from `seed`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    words = ["[PAD]", "[UNK]", "a", "cat", "dog", "rocket"]

    def save(file: str, nodes: list[Any], inputs: list[Any], **weights: np.ndarray) -> None:
        graph = helper.make_graph(
            nodes,
            "tiny",
            inputs,
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", bits])],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, folder / file)

    save(
        "image.onnx",
        [
            helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["real", "grey"], ["centred"]),
            helper.make_node("Flatten", ["centred"], ["flat"]),
            helper.make_node("MatMul", ["flat", "projection"], ["output"]),
        ],
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 8, 8, 3])],
        grey=np.array(127.5, np.float32),
        projection=rng.standard_normal((192, bits)).astype(np.float32),
    )
    save(
        "text.onnx",
        [
            helper.make_node("Gather", ["vectors", "input_ids"], ["tokens"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
            helper.make_node("Mul", ["tokens", "column"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "middle"], ["output"], keepdims=0),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        vectors=rng.standard_normal((len(words), bits)).astype(np.float32),
        last=np.array([-1], np.int64),
        middle=np.array([1], np.int64),
    )
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    Description(
        name=folder.name,
        bits=bits,
        method="random projections",
        teacher="none",
        licence="CC0-1.0",
        image=ImageEncoder("image.onnx", size=8, resize="squash"),
        text=TextEncoder("text.onnx", "tokenizer.json", max_tokens=16),
    ).write(folder)
    return folder
