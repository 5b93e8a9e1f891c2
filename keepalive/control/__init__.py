"""Speaks to those beside the daemon: commands on a Unix socket, probes and scrapes over TCP."""
