"""Keeps targets eligible for a command or a program: by heartbeats of its own, or by a lease of a daemon."""
