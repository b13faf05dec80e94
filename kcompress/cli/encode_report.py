"""``--report``: results of ``encode`` as a table (CSV) and as a contact sheet (HTML)."""

import csv
import heapq
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kcompress import storage, urls
from kcompress.cli import encoded, output
from kcompress.cli.files import Job
from kcompress.errors import KcompressError, OutputError, UsageError

if TYPE_CHECKING:
    from kcompress.evaluation.contact import Shot
    from kcompress.search.plan import EncodeResult

_MOST_SHOWN = 200
"""Pictures on a contact sheet, at most: a page that browsers open at once."""


class Report(Protocol):
    """File about all results, which is written in the end."""

    has_pictures: bool

    def add(self, job: Job, result: "EncodeResult | KcompressError", shot: "Shot | None") -> None:
        """Take in one result, in the order of the inputs."""
        ...

    def write(self) -> None:
        """Write the file.

        Raises:
            OutputError: it cannot be written.
        """
        ...


def reports(names: Sequence[str], *, force: bool) -> list[Report]:
    """Reports by the suffixes of their files.

    Raises:
        UsageError: a suffix that stands for none.
        OutputError: a file is there, and may not be replaced.
    """
    found: list[Report] = []
    for name in map(urls.local, names):
        kind = {".csv": Table, ".html": ContactSheet}.get(Path(name).suffix.lower())
        if kind is None:
            raise UsageError(
                f"--report {output.name(name)} is neither a table nor a page. End its name in .csv or .html."
            )
        if not force and storage.exists(name) and not storage.is_device(name):
            raise OutputError(f"{output.name(name)} exists. Give --force to overwrite it, or another --report.")
        found.append(kind(name, force))
    return found


class Table(Report):
    """The fields of the lines of JSON that are no lists, one row a file; failed ones have a message alone."""

    has_pictures = False

    def __init__(self, name: str, force: bool) -> None:
        self._name, self._force = name, force
        self._rows: list[dict[str, Any]] = []

    def add(self, job: Job, result: "EncodeResult | KcompressError", shot: "Shot | None") -> None:
        if isinstance(result, KcompressError):
            self._rows.append({"input": job.source, "error": str(result)})
            return
        fields = encoded.success(job, result)
        row = {key: value for key, value in fields.items() if not isinstance(value, list | dict)}
        self._rows.append({**row, "notes": "; ".join(result.encoded.notes)})

    def write(self) -> None:
        columns = list(dict.fromkeys(key for row in self._rows for key in row if key != "type"))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        storage.write(self._name, text.getvalue().encode(errors="surrogateescape"), replace=self._force)


class ContactSheet(Report):
    """Before and after of the worst pictures; no more than these are held in memory."""

    has_pictures = True

    def __init__(self, name: str, force: bool) -> None:
        self._name, self._force = name, force
        self._worst: list[tuple[float, int, Any]] = []
        self._count = 0
        self._failures: list[str] = []

    def add(self, job: Job, result: "EncodeResult | KcompressError", shot: "Shot | None") -> None:
        from kcompress.evaluation.contact import Entry

        if isinstance(result, KcompressError):
            self._failures.append(output.visible(str(result)))
        elif shot is not None:
            self._count += 1
            apart = urls.is_url(job.target) != urls.is_url(self._name)
            target = job.target if apart else os.path.relpath(job.target, Path(self._name).parent)
            about = result.kept or f"q {result.encoded.setting.quality}, {result.encoded.network}"
            entry = Entry(output.name(job.source), target, result.length, len(result.encoded.data), about, shot)
            item = (-(100.0 if shot.score is None else shot.score), -self._count, entry)
            keep = heapq.heappush if len(self._worst) < _MOST_SHOWN else heapq.heappushpop
            keep(self._worst, item)

    def write(self) -> None:
        from kcompress.evaluation.contact import contact_page

        entries = [entry for *_, entry in sorted(self._worst, reverse=True)]
        page = contact_page(entries, self._count, self._failures)
        storage.write(self._name, page.encode(errors="backslashreplace"), replace=self._force)
