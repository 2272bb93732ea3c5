"""What is on disk and what has changed there: scanning, planning an update, metadata, text files, watching."""
