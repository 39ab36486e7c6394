"""The real command line, with the sample of 1,000 images in the place of all of Fashion-MNIST, and few strangers.

python small_data.py train ...
"""

from dataclasses import replace

from fmnist_edge.cli import main
from fmnist_edge_export import data
from fmnist_edge_export.recipes import RECIPES

if __name__ == "__main__":
    RECIPES["edge"] = replace(RECIPES["edge"], validation=100, strangers=16)
    data.load = lambda split, folder=None, *, download=True: data.load_sample()
    main()
