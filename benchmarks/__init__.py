"""How fast the client is beside its peers: `nox -s bench`."""
