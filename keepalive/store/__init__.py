"""Keeps what a restart needs: the calls of each rate group in a ring, all else in SQLite."""
