"""How a shell starts commands: Python keeps compiled modules, and buffers what goes to a file."""

import os

ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")}
