"""The door to `scripts.server.request`: ``python -m scripts.generate_input``."""

import sys

from scripts.server.request import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
