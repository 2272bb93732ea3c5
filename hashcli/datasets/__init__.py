"""Image-text datasets: read from their official files, and split by the field's protocols. No torch here."""
