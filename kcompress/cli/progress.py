"""Progress bars of batches, on terminals."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.text import Text


def bar(console: Console, unit: str | None = None, *, shown: bool = True) -> Progress:
    """A bar; lines that are said meanwhile go above it. With a unit it also shows how many are done in a minute."""
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), _Bar(None), MofNCompleteColumn()]
    if unit is not None:
        columns.append(_PerMinute(unit))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, disable=not shown, transient=True, expand=True)


class _Bar(BarColumn):
    """It moves before the first unit is done, too, which may take long."""

    def render(self, task: Task) -> ProgressBar:
        bar = super().render(task)
        bar.pulse = bar.pulse or not task.completed
        return bar


class _PerMinute(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{60 * (task.speed or 0):.1f} {self._unit}s/min")
