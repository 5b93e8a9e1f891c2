"""`python -m keepalive` is the command `keepalive`."""

from keepalive.cli import main

main()
