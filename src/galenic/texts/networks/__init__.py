"""One file an architecture, named as the field names it."""
