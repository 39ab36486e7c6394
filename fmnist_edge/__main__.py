"""``python -m fmnist_edge``."""

from fmnist_edge.cli import main

main()
