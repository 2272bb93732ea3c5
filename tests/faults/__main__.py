"""A long fault campaign: `python -m tests.faults [--trials N] [--seed S] [kind ...]`; the status is 1 for faults."""

import argparse
import sys

from tests.faults.campaign import KINDS, trials


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Provoke faults, and check promises.")
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="which kinds; all without any")
    parser.add_argument("--trials", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the first trial; the next have the next numbers")
    options = parser.parse_args()
    total = 0
    for kind in options.kinds or KINDS:
        faults = 0
        for fault in trials(kind, options.trials, options.seed):
            if fault:
                faults += 1
                print(fault, flush=True)
        print(f"{kind}: seed {options.seed}, {options.trials} trials, {faults} faults", flush=True)
        total += faults
    return min(total, 1)


if __name__ == "__main__":
    sys.exit(main())
