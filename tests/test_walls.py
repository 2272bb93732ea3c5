"""The half that is used never imports the half that trains, and --help imports next to nothing."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hashcli
from tests.cli.test_models_and_info import COMMANDS
from tests.conftest import SKIMAGE

PACKAGE = Path(hashcli.__file__).parent

TRAINING = {"torch", "torchvision", "open_clip", "timm", "transformers", "hashcli.distillation"}
HEAVY = {"numpy", "faiss", "onnxruntime", "tokenizers", "PIL", "sqlite3", "rich", "platformdirs", "filelock"}


def imported_by(program: str, cwd: Path) -> set[str]:
    """Run a program; the modules it has imported in the end, also if it calls sys.exit."""
    tail = "import atexit, sys\natexit.register(lambda: print('MODULES', *sys.modules))\n"
    done = subprocess.run([sys.executable, "-c", tail + program], cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


def run(*arguments: object) -> str:
    return f"import sys; sys.argv = {['hashcli', *map(str, arguments)]!r}; from hashcli.cli import main; main()"


def test_the_light_rooms_import_no_training_library(tmp_path: Path) -> None:
    program = "import pkgutil, importlib, hashcli.cli, hashcli.hashmodel, hashcli.index, hashcli.serve, hashcli.show\n"
    program += "for room in (hashcli.cli, hashcli.hashmodel, hashcli.index, hashcli.serve, hashcli.show):\n"
    program += "    for module in pkgutil.iter_modules(room.__path__, room.__name__ + '.'):\n"
    program += "        importlib.import_module(module.name)\n"
    modules = imported_by(program, tmp_path)
    assert {
        "hashcli.cli.search",
        "hashcli.index.code_index",
        "hashcli.hashmodel.model",
        "hashcli.show.thumbnails",
    } <= modules
    assert not modules & (TRAINING | {"textual_image"})


def test_running_index_search_and_encode_imports_no_training_library(tmp_path: Path) -> None:
    for arguments in (
        ("index", SKIMAGE / "chelsea.png", "--index", "ix"),
        ("search", "a cat", "--index", "ix"),
        ("search", "--image", SKIMAGE / "chelsea.png", "--index", "ix"),
        ("encode", SKIMAGE / "chelsea.png", "--text", "a cat"),
    ):
        modules = imported_by(run(*arguments), tmp_path)
        assert "onnxruntime" in modules
        assert not modules & (TRAINING | {"pymilvus", "grpc"})


def test_a_text_search_loads_no_image_decoder_and_no_writer(tmp_path: Path) -> None:
    imported_by(run("index", SKIMAGE / "chelsea.png", "--index", "ix"), tmp_path)
    modules = imported_by(run("search", "a cat", "--index", "ix"), tmp_path)
    assert not modules & {"PIL", "filelock", "rich.table", "textual", "hashcli.show", "starlette", "uvicorn"}


@pytest.mark.parametrize("arguments", [("--help",), ("search", "--help"), ("index", "--help"), ("encode", "--help")])
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert not imported_by(run(*arguments), tmp_path) & (HEAVY | TRAINING)


@pytest.mark.parametrize(
    ("room", "others"),
    [
        ("captions.py", {"index", "datasets", "evaluation", "distillation", "cli", "show", "serve"}),
        ("hashmodel", {"index", "datasets", "evaluation", "distillation", "cli", "show", "serve"}),
        ("datasets", {"index", "evaluation", "distillation", "cli", "show", "serve"}),
        ("evaluation", {"index", "distillation", "cli", "show", "serve"}),
        ("index", {"datasets", "evaluation", "distillation", "cli", "show", "serve"}),
        ("json_rows.py", {"datasets", "evaluation", "distillation", "cli", "show", "serve"}),
        ("serve", {"datasets", "evaluation", "distillation", "cli"}),
        ("show", {"datasets", "evaluation", "distillation", "cli", "serve"}),
    ],
)
def test_a_room_never_imports_some_others(room: str, others: set[str]) -> None:
    """Nor does it within a function, or for its types alone."""
    place = Path(hashcli.__file__).parent / room
    for path in place.rglob("*.py") if place.is_dir() else [place]:
        imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("hashcli.")}
        assert not imported & others, path


def imports_of(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere in it; `from hashcli import index` counts as hashcli.index."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            assert not node.level, f"{path} imports a module by its relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_library_names_no_command_and_no_option() -> None:
    """Python users have none: the terminal adds them to the library's errors (cli/remedies.py). Docstrings may."""
    found = [
        f"{path.name}:{node.lineno}: {node.value}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent != PACKAGE / "cli"
        for tree in [ast.parse(path.read_text(encoding="utf-8"))]
        for docstrings in [{id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if re.search(rf"\bhashcli ({'|'.join(COMMANDS)})\b|(?<![\w-])--[a-z]", node.value)
    ]
    assert found == []
