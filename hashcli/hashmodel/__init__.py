"""A hash model as used: load its folder, encode images and texts to packed binary codes. No torch here."""
