"""Results as pictures: a contact sheet for the browser, and pictures in the terminal. No torch here."""
