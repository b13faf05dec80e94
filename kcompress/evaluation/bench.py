"""The whole of a bench: measure, resume, and write the report's files."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from kcompress.codecs import check_settings
from kcompress.csv_rows import Journal, Rows, check_numbers
from kcompress.errors import OutputError
from kcompress.evaluation import machine_summary
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.plan import Plan
from kcompress.evaluation.plots import overview
from kcompress.evaluation.points import Key, Point
from kcompress.evaluation.report import markdown
from kcompress.evaluation.report_page import report_page
from kcompress.evaluation.summary import meeting, summarise
from kcompress.evaluation.sweep import Measured, sweep
from kcompress.networks import NONE

POINTS = "points.csv"


@dataclass
class Outcome:
    """Result of a bench: points in order, failed pictures with the reason, notes on those that were read."""

    points: list[Point] = field(default_factory=list)
    failures: list[Measured] = field(default_factory=list)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def points_before(output: Path, plan: Plan, *, resume: bool) -> list[Point]:
    """Points of an interrupted run.

    Raises:
        OutputError: the folder holds points already and ``resume`` is not asked for.
        InputError: the points that are there belong to other metrics.
    """
    path = output / POINTS
    if not path.exists():
        return []
    if not resume:
        raise OutputError(f"{path} exists. Give --resume to go on with it, or another -o.")
    points = Rows(Point, plan.columns, check_numbers, plan.texts).read(path)
    check_settings(path, ((point.codec, point.quality) for point in points if point.preprocessor not in PEERS))
    return points


def run(
    plan: Plan, names: Sequence[str], output: Path, before: Sequence[Point], *,
    executor: Executor, ahead: int, progress: Callable[[int], None],
) -> Outcome:  # fmt: skip
    """Measure what is not among the points ``before``, keeping every point on disk as it comes.

    ``progress`` gets the number of points since its last call.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / POINTS
    rows = Rows(Point, plan.columns, texts=plan.texts)
    outcome = Outcome(list(before))
    rows.write(path, outcome.points)  # without a line that a kill cut short
    wanted: dict[tuple[str, str], tuple[Key, ...]] = {}
    journal = Journal(rows, path)
    try:
        for measured in sweep(plan, names, before, executor, ahead=ahead):
            wanted[measured.picture, measured.codec] = measured.keys
            journal.append(measured.points)
            outcome.points.extend(measured.points)
            outcome.notes[measured.picture] = measured.notes
            if measured.error is not None:
                outcome.failures.append(measured)
            progress(plan.count(measured.codec))
    finally:
        journal.close()
    by_key = {point.key: point for point in outcome.points}
    chosen = {key: by_key[key] for name in names for codec in plan.qualities for key in wanted[name, codec]}
    # Points of earlier plans and encoders stay in the file, behind those that the report is about.
    others = [point for key, point in by_key.items() if key not in chosen]
    outcome.points = list(chosen.values())
    rows.write(path, [*outcome.points, *others])
    return outcome


def write_report(plan: Plan, outcome: Outcome, output: Path, command: str) -> dict[str, object]:
    """Write summary.json, report.md, report.html and curves.png beside points.csv; returns the summary."""
    summary = summarise(outcome.points, plan.metrics, equal_bits=plan.match_bpp)
    summary["machines"] = machine_summary.summarise(outcome.points, plan.machines)
    summary["command"] = command
    summary["failed"] = [{"picture": f.picture, "codec": f.codec, "error": f.error} for f in outcome.failures]
    (output / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (output / "report.md").write_text(markdown(summary, plan.metrics, command), errors="backslashreplace")
    (output / "report.html").write_text(report_page(plan, outcome.points, summary), errors="backslashreplace")
    points = meeting(outcome.points) if plan.match_bpp else outcome.points
    shown = [*(machine.name for machine in plan.machines), *plan.metrics]
    curves = overview(points, list(plan.qualities), shown, summary["machines"])
    (output / "curves.png").write_bytes(curves)
    return summary


def preprocessor_names(networks: Sequence[str], filters: Sequence[str]) -> tuple[str, ...]:
    """All preprocessors of a bench, the plain codec first: everything is compared with it."""
    return tuple(dict.fromkeys([NONE, *networks, *filters]))
