"""What is timed, as ratios against a named rival; never asserted. `python -m tests.benchmarks --help` runs them."""
