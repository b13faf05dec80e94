"""State of a search, from which it goes on, and the rows of its log."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kcompress.errors import InputError, UsageError
from kcompress.training.tasks.tables.recipe import TablesRecipe

STATE, LOG = "state.json", "log.csv"


@dataclass(frozen=True)
class Row:
    """Row of the log: a generation at a quality.

    Attributes:
        step: the generation, from 1.
        quality: of JPEG.
        cost, mean_cost: of the best candidate and of all, as ln.
        held_out_cost: of the search's mean on pictures that it does not see.
        scores: change of bytes at equal score, per cent, by judge; of the best candidate, and ``held_out_...``.
    """

    step: int
    quality: int
    cost: float
    mean_cost: float
    held_out_cost: float | None
    scores: dict[str, float]


def opened(folder: Path, recipe: TablesRecipe, data: str) -> dict[str, Any]:
    """The state in a folder, or that of a search that has not begun.

    It has ``recipe``, ``data`` (the pictures' digest), ``seconds``, and ``costs`` by generation, quality and candidate.

    Raises:
        InputError: it is no state.
        UsageError: it belongs to another recipe, or to other pictures.
    """
    asked = json.loads(json.dumps(asdict(recipe)))
    path = folder / STATE
    if not path.exists():
        return {"recipe": asked, "data": data, "seconds": 0.0, "costs": []}
    try:
        state: dict[str, Any] = json.loads(path.read_bytes())
        before, past, _, _ = (state[name] for name in ("recipe", "data", "seconds", "costs"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no state of a training ({error}). Remove it, or give another folder.") from error
    for name, value in {**asked, "pictures' digest": data}.items():
        was = past if name == "pictures' digest" else before.get(name)
        if was != value and name not in ("steps", "validate_every"):
            raise UsageError(
                f"--resume: {name} was {was} before and is {value} now. Give the same again, or another --checkpoints."
            )
    return {**state, "recipe": asked}
