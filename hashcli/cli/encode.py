"""hashcli encode: images and texts to packed codes, without an index."""

import json as json_module
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashcli.cli.console import SKIPPED, ProgressBar, say, stop_with, write_json
from hashcli.cli.inputs import read_lines, with_stdin
from hashcli.cli.options import DeviceOption, Json, complete_model, say_device
from hashcli.errors import reason_of
from hashcli.json_rows import json_line
from hashcli.plain_files import create_plain

if TYPE_CHECKING:
    import numpy as np

    from hashcli.hashmodel.model import HashModel

EXAMPLES = """Examples:\n
hashcli encode photo.jpg --text "a dog on a beach"      one line of hex each\n
hashcli encode ./photos --out codes.npy                 codes.npy, and codes.jsonl, which names its rows\n
hashcli encode --texts-from captions.txt --out captions.npy"""


# Long because typer reads the options from the signature.
def run(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Photos, folders of photos, or - to read a list from stdin.", show_default=False),
    ] = None,
    text: Annotated[list[str] | None, typer.Option("--text", help="A text. Can be repeated.")] = None,
    texts_from: Annotated[str | None, typer.Option(help="A file of texts, one per line, or - for stdin.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A .npy file for the codes, uint8 [n, bits/8]; a .jsonl beside it names the rows."),
    ] = None,
    model: Annotated[
        str, typer.Option(autocompletion=complete_model, help="Hash model, by name or folder.")
    ] = "lite-256",
    device: DeviceOption = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Include hidden files and folders.")] = False,
    json: Json = False,
) -> None:
    """Turn images and texts into packed binary codes.

    Images come first, then texts, in the order given.
    Bit i of a code is 1 if output i of the model is above 0, and the first bit is the lowest bit of the first byte.
    Inputs that cannot be read are named on stderr and have no row. Without --out, codes are printed as hex, one per
    line.
    """
    if out and out.suffix != ".npy":
        stop_with(f"--out {out} must end in .npy.", f"For example: --out {out.with_suffix('.npy')}", status=2)
    if not (paths or text or texts_from):
        stop_with("Nothing to encode.", "Give photos, folders, --text or --texts-from.", status=2)

    import numpy as np

    from hashcli.hashmodel.codes import pack
    from hashcli.hashmodel.registry import load_model

    hash_model = load_model(model, device=device or "cpu")
    if device:
        say_device(hash_model.device)
    if out:
        _check_writable(out)
    codes: list[np.ndarray] = []
    rows: list[dict[str, str]] = []
    skipped = 0
    with ProgressBar("Encoding") as progress:
        files = list(_photo_files(paths or [], progress, hidden))
        texts = [*(text or []), *(read_lines(texts_from) if texts_from else [])]
        progress.planned(len(files) + len(texts))
        for row, result in _encoded(hash_model, files, texts):
            progress.advanced(1)
            if isinstance(result, Exception):
                skipped += 1
                progress.skipped(next(iter(row.values())), reason_of(result))
                continue
            code = pack(result[None])[0]
            if out:
                codes.append(code)
                rows.append(row)
            elif json:
                write_json({**row, "code": code.tobytes().hex()})
            else:
                print(code.tobytes().hex())
    if out and skipped and not codes:
        say(f"Nothing could be encoded, so {out} is not written.")
    elif out:
        _write(out, np.stack(codes) if codes else np.empty((0, hash_model.bits // 8), np.uint8), rows)
    if skipped:
        raise typer.Exit(SKIPPED)


def _encoded(
    model: "HashModel", files: list[tuple[str, str]], texts: list[str]
) -> "Iterator[tuple[dict[str, str], np.ndarray | Exception]]":
    """Yield what names a row, and its output, float32 [bits], or the exception that says why it has none."""
    from hashcli.hashmodel.model import TEXT_BATCH
    from hashcli.hashmodel.prefetch import batched
    from hashcli.index.files.paths import canonical

    unreadable = {path: reason for path, reason in files if reason}
    for path, result in model.encode_image_files(path for path, _ in files):
        yield {"path": canonical(path)}, OSError(unreadable[path]) if path in unreadable else result
    for batch in batched(texts, TEXT_BATCH):
        for text, output in zip(batch, model.encode_texts(batch), strict=True):
            yield {"text": text}, output if text.strip() else ValueError("an empty text")


def _photo_files(paths: list[str], progress: ProgressBar, hidden: bool) -> Iterator[tuple[str, str]]:
    """Yield (file, "") in order, and (folder, reason) for a folder that cannot be read."""
    from hashcli.index.files.exclusion import Rules
    from hashcli.index.files.scan import scan

    for path in with_stdin(paths):
        if not Path(path).is_dir():
            yield path, ""
            continue
        found = scan({path: Rules()}, hidden=hidden, on_progress=progress.scanned)
        yield from ((file, "") for file in found.files)
        yield from found.problems


def _check_writable(out: Path) -> None:
    """Stop now, rather than after the work, if the files cannot be written, or the second is somebody else's."""
    names = out.with_suffix(".jsonl")
    if os.path.lexists(names) and not (out.exists() and _names_rows(names)):
        stop_with(
            f"{names} is there and was not written by hashcli encode; the names of the rows would take its place.",
            "Choose another name with --out.",
        )
    try:
        create_plain(_unfinished(out)).close()
        _unfinished(out).unlink()
    except OSError as error:
        stop_with(f"{out} cannot be written: {error.strerror}.", "Choose another place with --out.")


def _names_rows(path: Path) -> bool:
    """Whether a file begins as those do in which `_write` names rows."""
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline(100_000)
        return not first or json_module.loads(first).keys() in ({"path"}, {"path", "path_bytes"}, {"text"})
    except (AttributeError, OSError, RecursionError, ValueError):
        return False


def _write(out: Path, codes: "np.ndarray", rows: list[dict[str, str]]) -> None:
    import numpy as np

    names = out.with_suffix(".jsonl")
    lines = "".join(json_line(row) + "\n" for row in rows)
    with create_plain(_unfinished(names)) as file:
        file.write(lines.encode())
    with create_plain(_unfinished(out)) as file:
        np.save(file, codes)
    for path in (names, out):
        _unfinished(path).replace(path)


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")
