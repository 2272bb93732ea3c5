"""Answers to look at: a contact sheet for the browser, pictures in the terminal. No torch here."""
