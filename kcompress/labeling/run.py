"""Run of a labelling: resume, distribute, and write every result as it comes."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path

from kcompress import labels, storage
from kcompress.codecs import check_settings
from kcompress.csv_rows import Journal
from kcompress.dataset import digest
from kcompress.errors import OutputError, UsageError, failure_of
from kcompress.inference.weights import folder, open_weights
from kcompress.labeling.picture import Labelled, already_labelled, label_picture
from kcompress.labeling.plan import Plan
from kcompress.labels import Key, Row
from kcompress.workers import completed


@dataclass
class Outcome:
    """Result of a labelling.

    Attributes:
        rows: in the order of the data set, those of this plan alone.
        failures: pictures without a label, in the order of the data set.
        computed: number of rows that were not known before.
        notes: on how each picture was read.
    """

    rows: list[Row] = field(default_factory=list)
    failures: list[Labelled] = field(default_factory=list)
    computed: int = 0
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def rows_before(plan: Plan, output: Path, *, resume: bool) -> list[Row]:
    """Rows of an interrupted run; those that failed are left out, to be tried again.

    Raises:
        OutputError: the folder holds labels already and ``resume`` is not asked for.
        InputError: the labels that are there belong to other metrics, or cannot be read.
        UsageError: they were made with other weights, or are of another kind.
    """
    path = output / labels.FILE
    if not path.exists():
        return []
    if not resume:
        raise OutputError(f"{path} exists. Give --resume to go on with it, or another -o.")
    kept = labels.plan(output).get("same", {})
    for name, value in _resume_fingerprint(plan).items():
        if kept.get(name, value) != value:
            raise UsageError(f"--resume: {name} was {kept[name]} before and is {value} now. Give another -o.")
    rows = labels.file(plan.metrics).read(path)
    check_settings(path, ((row.codec, row.quality) for row in rows))
    return [row for row in rows if not row.error]


def run(
    plan: Plan, names: Sequence[str], output: Path, before: Sequence[Row], executor: Executor, *,
    ahead: int, progress: Callable[[], None],
) -> Outcome:  # fmt: skip
    """Label every picture; labels.csv and pictures/ of the output folder are written however it ends.

    Rows ``before`` need not be computed again. The executor, which labels pictures, gets no open file and no path of
    this machine but the data set's; ``ahead`` pictures are submitted before their results are needed.

    Raises:
        OutputError: the folder cannot be written.
        ProgramError: a worker was killed.
    """
    file = labels.file(plan.metrics)
    path = output / labels.FILE
    same = {**(labels.plan(output).get("same", {}) if before else {}), **_resume_fingerprint(plan)}
    memory = {
        "dataset": plan.dataset.absolute().location, "same": same, "metric": plan.metric,
        "rate_weight": plan.rate_weight, "groups": [group.name for group in plan.groups],
    }  # fmt: skip
    storage.write(str(output / labels.PLAN), json.dumps(memory, indent=1).encode())
    done: dict[str, Labelled] = {}
    try:
        file.write(path, before)  # without a line that a kill cut short
        journal = Journal(file, path)
        try:
            for labelled in _results(plan, names, output, before, executor, ahead):
                _keep(labelled, output, journal)
                done[labelled.path] = replace(labelled, pictures=())  # they are large
                progress()
        finally:
            journal.close()
        outcome = _in_order(names, done)
        current = {row.key for row in outcome.rows}
        # Rows of earlier plans and encoders stay in the file, behind; they choose nothing.
        others = {row.key: row for row in before if row.key not in current}
        file.write(path, [*outcome.rows, *map(_deselected, others.values())])
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}. Free space, or give another -o.") from error
    return outcome


def _keep(labelled: Labelled, output: Path, journal: Journal[Row]) -> None:
    """Write rows and labels, so that a label always belongs to the last row that names it."""
    for name, _ in labelled.pictures:
        (output / name).unlink(missing_ok=True)  # of an earlier choice; what is missing is made again
    if labelled.computed or labelled.pictures:
        journal.append(labelled.rows)
    for name, png in labelled.pictures:
        storage.write(str(output / name), png)


def _results(
    plan: Plan, names: Sequence[str], output: Path, before: Sequence[Row], executor: Executor, ahead: int
) -> Iterator[Labelled]:
    """Results: first pictures that need no work, then the others as the executor finishes them."""
    known: dict[str, dict[Key, Row]] = {}
    shown: dict[str, Key] = {}
    for row in before:
        known.setdefault(row.sha256, {})[row.key] = row
        if row.chosen:
            shown[row.label] = row.key
    rest: list[tuple[Plan, str, tuple[Row, ...]]] = []
    for name in names:
        mine: dict[Key, Row] = {}
        if known:
            try:
                data = plan.dataset.read(name)
                sha256 = digest(data)
                mine = known.get(sha256, {})
                found = already_labelled(plan, name, data, sha256, mine) if mine else None
            except Exception as error:
                found = Labelled(name, error=str(failure_of(error, name)))
            if found is not None and all(
                shown.get(row.label) == row.key and (output / row.label).is_file() for row in found.rows if row.chosen
            ):
                yield found
                continue
        rest.append((plan, name, tuple(mine.values())))
    yield from completed(executor, label_picture, rest, ahead)


def _in_order(names: Sequence[str], done: dict[str, Labelled]) -> Outcome:
    outcome = Outcome()
    for name in names:
        outcome.rows += done[name].rows
        outcome.computed += done[name].computed
        outcome.notes[name] = done[name].notes
        if done[name].error:
            outcome.failures.append(done[name])
    return outcome


def _deselected(row: Row) -> Row:
    return replace(row, z_quality=None, z_bpp=None, score=None, chosen=0, label="")


def _resume_fingerprint(plan: Plan) -> dict[str, str]:
    """Settings that must be equal when a labelling is resumed."""
    learned = ("ar", "vqscore")
    used = {name.partition(":")[0] for name in (*plan.pool, *plan.metrics)}
    weights = {
        f"weights of {name}": open_weights(folder() / f"{name}.safetensors", name).digest()[:16]
        for name in learned
        if name in used
    }
    return {"--label-stage": plan.stage, **weights}
