"""Benchmarks, each of which makes what it needs: `python -m tests.benchmarks [NAME]...`, by the names in BENCHMARKS."""

import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from hashcli.hashmodel.prefetch import batched, prefetch
from tests.benchmarks.material import make_index, make_photos, mean_path_length
from tests.benchmarks.milvus import milvus
from tests.benchmarks.server import page, server
from tests.benchmarks.timing import cost, process, ratio, seconds

HASHCLI = [sys.executable, "-m", "hashcli"]


def start(work: Path) -> None:
    """A search and --help from a cold terminal, against the imports they cannot do without."""
    index = make_index(work / "index-100k", 100_000)
    imports = [sys.executable, "-c", "import numpy, faiss, onnxruntime, tokenizers, typer, rich"]
    search = [*HASHCLI, "search", "--text", "dog on a beach", "--index", index]
    report("search of 100,000 photos", "its imports alone", *ratio(process(search), process(imports), 15))
    for arguments in (["--help"], ["search", "--help"]):
        bare = process([sys.executable, "-c", "import typer, rich"])
        report(
            f"hashcli {' '.join(arguments)}", "import typer, rich", *ratio(process([*HASHCLI, *arguments]), bare, 15)
        )


def batch(work: Path) -> None:
    """Many queries in one process, by codes and by words; a process for a single one beside them."""
    count = 5000
    index = make_index(work / "index-batch", 100_000)
    np.save(work / "codes.npy", np.random.default_rng(1).integers(0, 256, (count, 32), dtype=np.uint8))
    words = ["a dog on a beach", "two people ride bicycles down a street", "a cup of coffee", "the sea at sunset"]
    (work / "words.txt").write_text("".join(f"{words[i % 4]} {i}\n" for i in range(500)))
    single = seconds(process([*HASHCLI, "search", "a dog on a beach", "--index", index]))
    for name, queries in (("codes.npy", count), ("words.txt", 500)):
        took = seconds(process([*HASHCLI, "search", "--all", "--batch", work / name, "--json", "--index", index]))
        print(
            f"{queries} queries of {name} over 100,000 photos: {took:.2f} s, {queries / took:.0f} a second, "
            f"start included; a single one: {single:.2f} s"
        )


def scan(work: Path) -> None:
    """Opening and searching a million codes inside a process, against FAISS's own search of the same mapped file."""
    import faiss

    from hashcli.hashmodel.codes import pack
    from hashcli.index.catalog import Kind
    from hashcli.index.code_index import FaissCodeIndex
    from hashcli.index.distance_limit import DistanceLimit
    from hashcli.index.ranking import rank

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (1_000_000, 32), dtype=np.uint8)
    FaissCodeIndex(work, Kind.IMAGE, 256).replace(np.arange(len(codes)), codes, 1)
    query = rng.standard_normal(256).astype(np.float32)

    def ours() -> None:
        (candidates,) = FaissCodeIndex(work, Kind.IMAGE, 256).search(pack(query[None]), 10, 10)
        rank(candidates, query, 0, DistanceLimit()).first(10)

    def rival() -> None:
        flat = faiss.read_index_binary(str(work / "images.faiss"), faiss.IO_FLAG_MMAP_IFC)
        flat.search(pack(query[None]), 10)

    report("open and search 1,000,000 codes", "FAISS, the same file", *ratio(ours, rival, 50))


def filters(work: Path) -> None:
    """CPU and memory of a search with filters, against the same search without: 1.5 times the CPU at most. Then of both
    without the derived files, as while an index is being written."""
    for count in (100_000, 1_000_000):
        index = make_index(work / f"index-{count}", count)
        search = [*HASHCLI, "search", "--all", "dog on a beach", "--index", index]
        day = "2023-11-15T04:00" if count == 100_000 else "2023-11-20"  # about half of the photos are later
        filtered = {
            "--after": [*search, "--after", day],
            "--after and --before": [*search, "--after", day, "--before", "2023-11-21"],
            "--in": [*search, "--in", work / "Pictures" / "2003"],
            "--type": [*search, "--type", "jpg"],
        }
        for where in ("derived files", "no derived files"):
            for name, command in filtered.items():
                pairs = [(cost(command), cost(search)) for _ in range(3)]
                ours, plain = (statistics.median(pair[which][0] for pair in pairs) for which in (0, 1))
                memory, plain_memory = (max(pair[which][1] for pair in pairs) for which in (0, 1))
                times = statistics.median(one[0] / other[0] for one, other in pairs)
                print(
                    f"{count:,} photos, {where}, {name}: {ours:.2f} s of CPU, {memory:.0f} MiB; plain: {plain:.2f} s, "
                    f"{plain_memory:.0f} MiB; {times:.2f} times the CPU"
                )
            for file in ("images.faiss", "images.ids.npy", "images.filter"):
                (index / file).unlink(missing_ok=True)


def words(work: Path) -> None:
    """CPU of a search by words and meaning, against one by meaning alone. Then without the file of words, as while an
    index is being written."""
    for count in (100_000, 1_000_000):
        index = make_index(work / f"index-{count}", count)
        for where in ("derived file", "no derived file"):
            for query in ("dog on a beach", "Pictures 2003"):  # words that no photo holds, and that many hold
                search = [*HASHCLI, "search", "--all", query, "--index", index]
                pairs = [(cost(search), cost([*search, "--no-words"])) for _ in range(5)]
                ours, plain = (statistics.median(pair[which][0] for pair in pairs) for which in (0, 1))
                times = statistics.median(one[0] / other[0] for one, other in pairs)
                print(f"{count:,} photos, {where}, {query}: {ours:.2f} s of CPU; {plain:.2f} s; {times:.2f} times")
            (index / "images.words").unlink(missing_ok=True)


def size(work: Path) -> None:
    """Bytes on disk."""
    count = 100_000
    index = make_index(work / "index-size", count)
    total = sum(path.stat().st_size for path in index.iterdir())
    paths = mean_path_length(index, count)
    print(f"index of {count:,} photos: {total / count:.1f} bytes a photo, {total / count - paths:.1f} beyond its path")


def indexing(work: Path) -> None:
    """Photos a second from files to a written index, against open_clip's ViT-B/32 on the same files.

    The rival has random weights, which cost the same, decodes ahead in threads as we do, and is not charged for its
    start; ours is.
    """
    small = make_photos(work / "small", 512, 500, 375, quality=90)
    large = make_photos(work / "large", 64, 4000, 3000, quality=92)
    rates = {}
    for name, photos in (("500-pixel", small), ("12-megapixel", large)):
        weight = sum(path.stat().st_size for path in photos) / len(photos) / 1e3
        command = [*HASHCLI, "index", photos[0].parent, "--index"]
        rates[name] = statistics.median(
            len(photos) / seconds(process([*command, work / f"index-{name}-{run}"])) for run in range(3)
        )
        print(f"indexing {name} JPEGs of {weight:.0f} kB: {rates[name]:.0f} photos a second, start included")
    if importlib.util.find_spec("open_clip") is None:
        print("open_clip is not installed, so there is no rival to compare with: pip install '.[train]'")
        return
    rival = open_clip_rate(small[:128])
    print(
        f"open_clip ViT-B/32 on the 500-pixel ones: {rival:.1f} a second; ours {rates['500-pixel'] / rival:.1f} times"
    )


def open_clip_rate(photos: list[Path]) -> float:
    """Photos a second, decoding included."""
    import open_clip
    import torch

    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None)
    model.eval()

    def encode(paths: list[Path]) -> None:
        decoded = prefetch(lambda path: preprocess(Image.open(path)), paths, look_ahead=64)
        with torch.inference_mode():
            for batch in batched(decoded, 32):
                model.encode_image(torch.stack([pixels for _, pixels in batch]))

    encode(photos[:32])
    return len(photos) / seconds(lambda: encode(photos))


def report(what: str, rival: str, ours: float, theirs: float, times: float) -> None:
    print(f"{what}: {ours * 1e3:.1f} ms; {rival}: {theirs * 1e3:.1f} ms; {times:.2f} times")


def duplicates(work: Path) -> None:
    """CPU and memory of the search for photos that look alike, by the keys of more and more photos; and of the one for
    near codes."""
    by_keys = "from hashcli.index.likeness import alike_by_keys; alike_by_keys(make_keys(int(sys.argv[1])))"
    by_codes = (
        "from hashcli.index.near_codes import near_pairs; codes = make_keys(int(sys.argv[1]))[:, :2].reshape(-1, 32); "
        "near_pairs(codes, 24, codes[:, None])"
    )
    for what, code in (("alike by keys", by_keys), ("codes within 24 of 256 bits", by_codes)):
        before = None
        for count in (25_000, 100_000, 400_000, 1_000_000):
            code_of_child = f"import sys; from tests.benchmarks.material import make_keys; {code}"
            cpu, memory = cost([sys.executable, "-c", code_of_child, count])
            growth = f"; {cpu / before:.1f} times the CPU of a quarter of them" if before and count < 1_000_000 else ""
            print(f"{count:,} photos, {what}: {cpu:.1f} s of CPU, {memory:.0f} MiB{growth}")
            before = cpu


BENCHMARKS: dict[str, Callable[[Path], None]] = {
    "start": start,
    "batch": batch,
    "scan": scan,
    "filters": filters,
    "words": words,
    "size": size,
    "indexing": indexing,
    "duplicates": duplicates,
    "server": server,
    "page": page,
    "milvus": milvus,
}


def main() -> None:
    names = sys.argv[1:] or list(BENCHMARKS)
    if not set(names) <= set(BENCHMARKS):
        sys.exit(__doc__)
    for name in names:
        with tempfile.TemporaryDirectory() as work:
            BENCHMARKS[name](Path(work))


main()
