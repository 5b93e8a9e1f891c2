"""Measures how long one accepted heartbeat keeps a live tail going: the window that nobody documents."""
