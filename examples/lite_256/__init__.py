"""The parts of examples/train_lite_256.py."""
