"""The search: a generation of candidates at every quality, judged, told to CMA-ES, written down; resume; export."""

import json
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kcompress import storage
from kcompress.codecs.quantisation import QuantisationTables
from kcompress.csv_rows import Journal, Rows
from kcompress.dataset import DataSet, digest
from kcompress.errors import InputError, OutputError
from kcompress.images import Pixels
from kcompress.inference.weights import beside
from kcompress.training.crops import holds, middle, richest
from kcompress.training.events import Event, Finished, Prepared, Step, Validation
from kcompress.training.export import described, encoder
from kcompress.training.log_tables import LogSteps
from kcompress.training.photos import divided, picture, prepared, too_small
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.tables.coding import Coder, Trial
from kcompress.training.tasks.tables.cost import ANCHOR, Curves, cost
from kcompress.training.tasks.tables.recipe import TablesRecipe
from kcompress.training.tasks.tables.scaling import Vector, changed, scaled, setting, written
from kcompress.training.tasks.tables.state import LOG, STATE, Row, opened
from kcompress.training.tasks.tables.strategy import NOTHING, Strategy
from kcompress.workers import one_thread, workers

_SCALED_WITH = 64
"""Pictures on whose middles the scale is found, at most."""


@dataclass(frozen=True, kw_only=True)
class TablesData(TrainingData):
    """Outcome of a search: log steps by quality, and figures for the card."""

    nodes: dict[int, LogSteps]
    card: dict[str, Any]


@dataclass(frozen=True)
class TableSearch:
    """A search for tables.

    Attributes:
        photos: its pictures.
        recipe: of the search.
        folder: for state, log and the tables of each generation.
        start: tables to start from.
        weights: of the network before the encoder, or None.
        device: of network and judges.
        jobs: processes that encode; on the CPU they judge too.
        minutes: after which no generation begins, or None.
    """

    photos: DataSet
    recipe: TablesRecipe
    folder: Path
    start: QuantisationTables
    weights: Path | None
    device: str = "cpu"
    jobs: int = 1
    minutes: float | None = None

    def split(self) -> Split:
        """Pictures to search with, three of four of those that a network's training by the same ``split`` leaves.

        The fourth are for validation.

        Raises:
            InputError: one of the two is empty.
        """
        names = self.photos.names()
        digests = dict(zip(names, (digest(self.photos.read(name)) for name in names), strict=True))
        _, kept = divided(names, list(digests.values()), 1 - self.recipe.split)
        kept = tuple(sorted(kept, key=digests.__getitem__))
        validation = kept[3::4]
        search = tuple(name for place, name in enumerate(kept) if place % 4 != 3)
        if not search or not validation:
            raise InputError(
                f"{self.photos.location} has {len(names)} pictures: split {self.recipe.split:g} leaves {len(kept)} to "
                "search and validate with, and 4 are the least. Give more pictures, or a smaller --split."
            )
        whole = digest("".join(digests.values()).encode())
        return Split(search[: self.recipe.pictures], validation[: self.recipe.validation_pictures], whole)

    def run(self, *, resume: bool = False) -> Generator[Event, None, None]:
        """Search; the last event is `Finished`. ``resume`` goes on with the state in the folder, if there is one.

        Raises:
            InputError: no pictures, or one that cannot be read; a state that is none.
            OutputError: the folder holds a search already.
            ProgramError: an encoder failed.
            UsageError: the state belongs to another recipe, or to other pictures.
        """
        began = time.perf_counter()
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / STATE).exists() and not resume:
            raise OutputError(f"{self.folder} holds a training. Give --resume to go on, or another --checkpoints.")
        split = self.split()
        state = opened(self.folder, self.recipe, split.digest)
        began -= state["seconds"]
        with workers(self.jobs) as executor:
            seen = yield from self._coder(split.train, executor, richest)
            unseen = yield from self._coder(split.validation, executor, richest)
            seen_curves, unseen_curves = None, Curves.of(unseen, self._scores)
            trials = {quality: self._candidates(quality, [NOTHING]) for quality in self._qualities}
            before = self._costs(trials, unseen, unseen_curves)
            searches = {quality: Strategy(self.recipe, quality) for quality in self._qualities}
            best = float("inf")
            names = [*self._scores, *(f"held_out_{name}" for name in self._scores)]
            rows = Rows(Row, names)
            past = rows.read(self.folder / LOG) if state["costs"] else []
            rows.write(self.folder / LOG, [row for row in past if row.step <= len(state["costs"])])
            for costs in state["costs"]:  # the search follows from its costs
                for search, told in zip(searches.values(), costs, strict=True):
                    search.tell(search.ask(), told)
            with closing(Journal(rows, self.folder / LOG)) as journal:
                for number in range(len(state["costs"]) + 1, self.recipe.steps + 1):
                    if self.minutes is not None and time.perf_counter() - began > 60 * self.minutes:
                        break
                    seen_curves = seen_curves or Curves.of(seen, self._scores)
                    asked = {quality: search.ask() for quality, search in searches.items()}
                    found = self._costs(
                        {quality: self._candidates(quality, some) for quality, some in asked.items()}, seen, seen_curves
                    )
                    for quality, search in searches.items():
                        search.tell(asked[quality], [each.cost for each in found[quality]])
                    state["costs"].append([[each.cost for each in found[quality]] for quality in self._qualities])
                    lowest = {quality: min(some, key=lambda each: each.cost) for quality, some in found.items()}
                    mean = float(np.mean([each.cost for each in lowest.values()]))
                    yield Step(number, mean, {})
                    validated = None
                    if number % self.recipe.validate_every == 0 or number == self.recipe.steps:
                        means = {quality: self._candidates(quality, [searches[quality].mean]) for quality in searches}
                        validated = self._costs(means, unseen, unseen_curves)
                    journal.append(self._rows(number, found, validated))
                    state["seconds"] = time.perf_counter() - began
                    storage.write(str(self.folder / STATE), json.dumps(state).encode())
                    if validated is not None:
                        held_out = float(np.mean([some[0].cost for some in validated.values()]))
                        yield self._validation(number, mean, held_out < best, validated, searches)
                        best = min(best, held_out)
            means = {quality: self._candidates(quality, [search.mean]) for quality, search in searches.items()}
            after = self._costs(means, unseen, unseen_curves)
            taken = {quality: self._worth(after[quality]) < self._worth(before[quality]) for quality in searches}
            chosen = {quality: search.mean * taken[quality] for quality, search in searches.items()}
            scaling = yield from self._coder(_spread(self.photos.names()), executor, middle)
            nodes, scales = scaled(changed(self.start, chosen), scaling)
        yield Finished(
            (),
            TablesData(
                trained_on=len(seen.crops), held_out=len(unseen.crops), metrics=names, heading="", nodes=nodes,
                card={
                    "generations": len(state["costs"]),
                    "scaled_with_pictures": len(scaling.crops),
                    "scale": {str(quality): round(value, 3) for quality, value in scales.items()},
                    "found_percent": {
                        str(quality): {
                            "start": before[quality][0].percent(),
                            "search": after[quality][0].percent(),
                            "taken": "search" if taken[quality] else "start",
                        }
                        for quality in searches
                    },
                },
            ),
            time.perf_counter() - began,
        )  # fmt: skip

    def export(self, finished: Finished, stem: Path, about: str) -> dict[str, Any]:
        """Write the tables with their card, ``stem.json``; returns the card.

        ``about`` are the user's words on the pictures.
        """
        data = finished.data
        assert isinstance(data, TablesData)
        card = {
            "summary": "quantisation tables of JPEG, a function of quality, learned by the real encoder",
            "network": "tables",
            "codec": "jpeg",
            "recipe": asdict(self.recipe),
            "data": described(f"one crop each of {data.trained_on} pictures", about),
            "encoder": encoder("jpeg"),
            "training_minutes": round(finished.seconds / 60),
            "held_out_pictures": data.held_out,
            **data.card,
            "licence": "MIT",
            "parameters": sum(steps.size for steps in data.nodes.values()),
        }
        storage.write(str(beside(stem, ".json")), written(card, data.nodes).encode())
        return card

    @property
    def _qualities(self) -> tuple[int, ...]:
        return self.recipe.qualities

    @property
    def _scores(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.recipe.objective, ANCHOR)))

    def _coder(
        self, names: Sequence[str], executor: Executor, cut: Callable[[Pixels, int], Pixels]
    ) -> Generator[Prepared, None, Coder]:
        """Crops of pictures."""
        tasks = [(self.photos, name, self.recipe.side, cut) for name in names]
        found = yield from prepared(executor, _crop, tasks, self.jobs)
        crops = [crop for crop in found if crop is not None]
        if not crops:
            raise too_small(self.photos, self.recipe.side)
        return Coder(crops, self.weights, self.device, executor, self.jobs)

    def _candidates(self, quality: int, some: Sequence[Vector]) -> list[Trial]:
        return [Trial(setting(quality, changed(self.start, {quality: each})(quality)), True) for each in some]

    def _costs(self, trials: dict[int, list[Trial]], coder: Coder, curves: Curves) -> "dict[int, list[_Judged]]":
        """Costs of candidates at every quality, all of them measured together."""
        measures = coder.measure([trial for some in trials.values() for trial in some], self._scores)
        saved, anchors = curves.saved(measures), curves.anchored(measures)
        found: dict[int, list[_Judged]] = {}
        place = 0
        for quality, some in trials.items():
            found[quality] = []
            for _ in some:
                by_name = dict(zip(self._scores, saved[place].tolist(), strict=True))
                away = float(anchors[place]) - curves.at(quality)
                found[quality].append(_Judged(cost(self.recipe, by_name, away), by_name))
                place += 1
        return found

    def _rows(
        self, number: int, found: "dict[int, list[_Judged]]", validated: "dict[int, list[_Judged]] | None"
    ) -> list[Row]:
        rows = []
        for quality, some in found.items():
            best = min(some, key=lambda each: each.cost)
            held_out = validated[quality][0] if validated else None
            scores = best.percent() | (
                {f"held_out_{name}": value for name, value in held_out.percent().items()} if held_out else {}
            )
            mean = float(np.mean([each.cost for each in some]))
            rows.append(Row(number, quality, best.cost, mean, held_out.cost if held_out else None, scores))
        return rows

    def _validation(
        self, number: int, loss: float, is_best: bool, validated: "dict[int, list[_Judged]]",
        searches: dict[int, Strategy],
    ) -> Validation:  # fmt: skip
        """Write the tables of a generation, not scaled yet, and tell how they do."""
        tables = changed(self.start, {quality: search.mean for quality, search in searches.items()})
        path = self.folder / f"step-{number:06d}.json"
        qualities = (1, *self._qualities, 100)
        storage.write(str(path), written({"network": "tables"}, {each: tables(each) for each in qualities}).encode())
        judged = [some[0] for some in validated.values()]
        metrics = {
            f"held_out_{name}_percent": round(float(np.mean([each.percent()[name] for each in judged])), 3)
            for name in self._scores
        }
        return Validation(number, loss, {}, None, None, metrics, path, is_best)

    def _worth(self, judged: "list[_Judged]") -> float:
        """Cost of the one candidate, wherever its quality lies: all are scaled in the end."""
        return cost(self.recipe, judged[0].saved, away=0)


@dataclass(frozen=True)
class _Judged:
    """A candidate: cost, and change of ln(bytes) by score."""

    cost: float
    saved: dict[str, float]

    def percent(self) -> dict[str, float]:
        """Change of bytes at equal score, per cent."""
        return {name: round(100 * float(np.expm1(value)), 2) for name, value in self.saved.items()}


def _spread(names: Sequence[str]) -> Sequence[str]:
    """Some of the names, evenly spread among them."""
    return names[:: -(-len(names) // _SCALED_WITH)]


def _crop(photos: DataSet, name: str, side: int, cut: Callable[[Pixels, int], Pixels]) -> Pixels | None:
    one_thread()
    pixels = picture(photos, name)
    return cut(pixels, side) if holds(pixels, side) else None
