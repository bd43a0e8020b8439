"""The package's logger: silent unless the application configures logging, and told no image and no secret."""

import logging
from typing import Final

LOG: Final = logging.getLogger("triton_sdk")
LOG.addHandler(logging.NullHandler())
