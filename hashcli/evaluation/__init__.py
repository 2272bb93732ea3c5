"""Hamming-ranking metrics, their reports and plots. No torch here."""
