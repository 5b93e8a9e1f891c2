"""One file per consumer of events."""
