"""CMA-ES over the coefficients of tables at one quality."""

from collections.abc import Sequence

import cma
import numpy as np

from kcompress.training.log_tables import SMOOTH
from kcompress.training.tasks.tables.recipe import TablesRecipe
from kcompress.training.tasks.tables.scaling import Vector

NOTHING: Vector = np.zeros(2 * len(SMOOTH))
"""Coefficients that change nothing, where each search begins."""


class Strategy:
    """Asks for the costs of candidates, a generation at a time; its random numbers are its own."""

    def __init__(self, recipe: TablesRecipe, quality: int) -> None:
        random = np.random.default_rng([recipe.seed, 4, quality])
        options = {
            "popsize": recipe.batch, "verbose": -9, "verb_log": 0, "seed": np.nan,
            "randn": lambda *shape: random.standard_normal(shape),
        }  # fmt: skip
        self._strategy = cma.CMAEvolutionStrategy(NOTHING, recipe.deviation, options)

    @property
    def mean(self) -> Vector:
        """Mean of the search distribution."""
        found: Vector = np.array(self._strategy.result.xfavorite)
        return found

    def ask(self) -> list[Vector]:
        """Draw candidates."""
        found: list[Vector] = self._strategy.ask()
        return found

    def tell(self, asked: Sequence[Vector], costs: Sequence[float]) -> None:
        """Take their costs."""
        self._strategy.tell(asked, costs)
