"""Photos and texts on disk -> catalog -> codes -> answers. No torch here."""
