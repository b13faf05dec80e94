"""Plans, runs and filters that the tests of labelling share."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pil

from kcompress.dataset import DataSet
from kcompress.images import Pixels, read
from kcompress.labeling.plan import Plan
from kcompress.labeling.run import Outcome, rows_before, run
from kcompress.workers import workers


def plan(place: Path | str, **changes: Any) -> Plan:
    """JPEG 75 by Pillow, judged by PSNR, on two filters."""
    usual: dict[str, Any] = {
        "codec": "jpeg", "quality": 75, "backend": "pillow", "pool": ("nlm", "detail"), "metrics": ("psnr",),
    }  # fmt: skip
    return Plan(DataSet(str(place)), **(usual | changes))


def labelled(
    plan: Plan, output: Path, *, resume: bool = False, jobs: int = 1, progress: Callable[[], None] = lambda: None
) -> Outcome:
    """The whole run, as the command does it."""
    names = plan.dataset.names()
    before = rows_before(plan, output, resume=resume)
    with workers(jobs) as executor:
        return run(plan, names, output, before, executor, ahead=jobs, progress=progress)


def table(output: Path) -> list[dict[str, str]]:
    """The rows of labels.csv without their seconds."""
    with (output / "labels.csv").open(newline="") as stream:
        return [{**row, "seconds": ""} for row in csv.DictReader(stream)]


def pictures(output: Path) -> dict[str, bytes]:
    """Everything below pictures/, by the path that labels.csv gives."""
    found = (path for path in (output / "pictures").rglob("*") if path.is_file())
    return {str(path.relative_to(output)): path.read_bytes() for path in found}


def state(output: Path) -> tuple[list[dict[str, str]], dict[str, bytes]]:
    """All that a run leaves for a training."""
    return table(output), pictures(output)


def pixels(png: bytes | Path) -> Pixels:
    return read(png.read_bytes() if isinstance(png, Path) else png).pixels


def save(samples: Pixels, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pil.fromarray(np.ascontiguousarray(samples)).save(path)
    return path


class Filters:
    """Filters made for one test; counts how often each is applied."""

    def __init__(self, register: Callable[[str, Callable[..., Pixels]], None]) -> None:
        self._register = register
        self.calls: Counter[str] = Counter()

    def add(self, name: str, work: Callable[[Pixels], Pixels]) -> None:
        """A new filter, or an old one with other work."""

        def counted(pixels: Pixels, means: Any, **numbers: float) -> Pixels:
            self.calls[name] += 1
            return work(pixels)

        self._register(name, counted)
