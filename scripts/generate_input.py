"""The door to `scripts.server.request`: ``python -m scripts.generate_input``."""

import sys

if __name__ == "__main__":
    if not __package__:
        sys.exit("Call it from the repository's folder, as a module: python -m scripts.generate_input")
    from scripts.server.request import main

    sys.exit(main(sys.argv[1:]))
