"""Image-text pairs with labels, read from their official files, and their official protocols. No torch here."""
