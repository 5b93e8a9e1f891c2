"""Decisions only: no I/O, clock, randomness or logging. Time and chance are arguments."""
