"""``python -m fmnist_edge``, and the command ``fmnist-edge``."""

import os
import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process; Ctrl-C while it is still being imported ends it at once."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as a shell has it for what runs in the background
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from fmnist_edge.cli import main

    main()


if __name__ == "__main__":
    main()
