"""Hamming-ranking metrics and their reports."""
