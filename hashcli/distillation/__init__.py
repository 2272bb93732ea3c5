"""Teachers, students and the three methods; training, baselines and export. Needs the extra `train` (torch)."""
