"""One program for each way to ask a server; each runs in an environment of its own, see `harness`."""
