"""How each model of the kit is trained: every number that shapes a run, in one place."""

from dataclasses import dataclass

from fmnist_edge_runtime.errors import ModelError


@dataclass(frozen=True)
class Recipe:
    """One training recipe.

    ``validation`` training images are held out and watched after each epoch. 0 trains on all 60,000 and prints the
    test accuracy after each epoch, as the classroom notebook does; nothing is chosen by it. ``low_precision`` trains in
    bfloat16 where the CPU has it.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    one_cycle: bool = False
    label_smoothing: float = 0.0
    shift: int = 0
    erase: float = 0.0
    average_decay: float = 0.0
    validation: int = 0
    low_precision: bool = False

    @property
    def augmented(self) -> bool:
        """Whether training images are changed on their way in."""
        return self.shift > 0 or self.erase > 0


NOTEBOOK = Recipe(epochs=5, batch_size=104, learning_rate=1e-3)

RECIPES = {
    "cnn": NOTEBOOK,
    "cnn_bn": NOTEBOOK,
    "edge": Recipe(
        epochs=80,
        batch_size=128,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=5e-4,
        one_cycle=True,
        label_smoothing=0.05,
        shift=2,
        erase=0.5,
        average_decay=0.999,
        validation=5000,
        low_precision=True,
    ),
}


def recipe_for(name: str) -> Recipe:
    """Return the recipe of a model of the kit.

    Raises:
        ModelError: the kit has no recipe of that name.
    """
    if name not in RECIPES:
        raise ModelError(f"{name}: no such model; the kit trains {', '.join(RECIPES)}")
    return RECIPES[name]
