"""No more can be written, from a random moment of an update on: a bound on the size of files stands for a full disk.

What was indexed is still found, the update says that it failed, and with space again it goes on where it was.
"""

from functools import partial

from tests.faults.bench import Bench, answers, check

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def trial(bench: Bench) -> None:
    if resource is None:
        return
    first, second = bench.folder / "photos" / "first", bench.folder / "photos" / "second"
    bench.make_photos(first, 30)
    bench.update(bench.folder / "photos")
    before = bench.held().keys()
    bench.make_photos(second, 60)
    bound = bench.rng.choice([0, bench.rng.randrange(100_000), bench.rng.randrange(500_000)])
    full = partial(_bound_files, bound)
    failed = bench.update(bench.folder / "photos", preexec_fn=full)
    found = bench.ask()
    missing = {str(path) for _, path, *_ in before} - {_relative(bench, row[3]) for row in answers(found)}
    check(found.status == 0 and not missing, f"at {bound} bytes a search misses {list(missing)[:3]}: {found.errors}")
    left = [file.name for file in bench.index.glob("*.tmp")]
    check(not left, f"at {bound} bytes is left behind: {left}")
    last = bench.update(bench.folder / "photos")
    check(last.status == 0, f"with space again, an update fails: {last.errors}")
    other = bench.folder / "new"
    bench.run("index", "--index", other, "--model", bench.model, bench.folder / "photos")
    check(bench.held() == bench.held(other), f"at {bound} bytes something was lost for good")
    is_whole = answers(bench.ask()) == answers(bench.ask(index=other))
    check(is_whole, f"at {bound} bytes answers were lost for good; the update had said: {failed.errors}")


def _relative(bench: Bench, path: object) -> str:
    return str(path).removeprefix(f"{bench.folder}/")


def _bound_files(size: int) -> None:
    """Runs in the process to be bounded."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
