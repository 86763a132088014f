"""A verdict per converted volume, and a page to look at."""
