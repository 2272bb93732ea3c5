"""Hash models in use: find and load one, encode images and texts, pack outputs to binary codes. No torch here."""
