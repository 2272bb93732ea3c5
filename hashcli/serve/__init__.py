"""The page that searches, and its JSON interface, served from the user's own machine. Needs the extra `serve`."""
