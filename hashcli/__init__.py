"""Find photos by meaning from a terminal, on short binary codes compared by Hamming distance."""

__version__ = "0.1.0"
