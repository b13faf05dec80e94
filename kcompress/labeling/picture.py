"""Labelling of one picture: filters, codec, scores, choice (Kuchen paper, Algorithm 1)."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kcompress import workers
from kcompress.codecs import Backend, decode
from kcompress.dataset import digest
from kcompress.encoding import Encoded, Session
from kcompress.errors import KcompressError, failure_of
from kcompress.images import Image, Pixels, read_canonical, write
from kcompress.labeling.decision import choose
from kcompress.labeling.plan import Plan
from kcompress.labels import Key, Row
from kcompress.metrics import METRICS, Scorer
from kcompress.pool import Group


@dataclass(frozen=True)
class Labelled:
    """Result of one picture, by its path below the data set, and notes on how it was read.

    Attributes:
        rows: of all groups of the plan, patch by patch, with the choice.
        pictures: (name below the output folder, PNG) of every label.
        computed: number of rows that were not known before.
        error: why there is no label; empty where there is one.
    """

    path: str
    rows: tuple[Row, ...] = ()
    pictures: tuple[tuple[str, bytes], ...] = ()
    computed: int = 0
    error: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """Whole picture or patch, with its upper left corner."""

    image: Image
    left: int = 0
    top: int = 0


def label_picture(plan: Plan, path: str, known: tuple[Row, ...] = ()) -> Labelled:
    """Label one picture. A failure of the picture is an error in the result, a failure of a group one in its row."""
    workers.one_thread()  # also where the executor is another's
    try:
        data = plan.dataset.read(path)
        image, sha256 = read_canonical(data, path), digest(data)
        before = {row.key: row for row in known}
        rows: list[Row] = []
        pictures: list[tuple[str, bytes]] = []
        for place in _places(plan, image, path):
            candidates = _Candidates(plan, place, path, sha256)
            found, label = candidates.rows_and_label(before)
            rows += found
            pictures += label
        computed = sum(row.key not in before for row in rows)
        return Labelled(path, tuple(rows), tuple(pictures), computed, _complaint(rows), image.notes)
    except Exception as error:  # one picture ends no labelling, whatever happens to it
        return Labelled(path, error=str(failure_of(error, path)))


def already_labelled(plan: Plan, path: str, data: bytes, sha256: str, known: Mapping[Key, Row]) -> Labelled | None:
    """Result of a picture all of whose rows are known, or None; its label is not made again.

    Its file is decoded only where patches need its size.

    Raises:
        KcompressError: the picture cannot be read, the encoder is missing.
    """
    encoder = plan.encoder()
    corners = [(0, 0)]
    if plan.patches is not None:
        image = read_canonical(data, path)
        corners = plan.patches.corners(image.width, image.height)
    rows: list[Row] = []
    for left, top in corners:
        keys = [_key(plan, group, encoder, sha256, left, top) for group in plan.groups]
        if not all(key in known for key in keys):
            return None
        rows += _chosen(plan, [replace(known[key], path=path) for key in keys])
    return Labelled(path, tuple(rows), error=_complaint(rows)) if rows else None


def label_name(plan: Plan, path: str, left: int, top: int) -> str:
    """Path of a label below the output folder."""
    corner = f"@{left},{top}" if plan.patches is not None else ""
    return f"pictures/{path}{corner}.png"


def _places(plan: Plan, image: Image, path: str) -> Iterable[_Place]:
    if plan.patches is None:
        return [_Place(image)]
    patches = plan.patches
    corners = patches.corners(image.width, image.height)
    if not corners:
        raise KcompressError(
            f"{path} has {image.width}x{image.height} pixels, too few for a patch of {patches}. Take smaller patches."
        )
    return (
        _Place(image.with_pixels(image.pixels[top : top + patches.height, left : left + patches.width]), left, top)
        for left, top in corners
    )


def _key(plan: Plan, group: Group, encoder: Backend, sha256: str, left: int, top: int) -> Key:
    patch = "" if plan.patches is None else str(plan.patches)
    version = encoder.version() or ""
    return Key(sha256, patch, left, top, group.name, plan.codec, encoder.name, version, plan.quality)


def _chosen(plan: Plan, rows: list[Row]) -> list[Row]:
    higher = METRICS[plan.metric].direction == "higher"
    return [
        replace(row, label=label_name(plan, row.path, row.left, row.top) if row.chosen else "")
        for row in choose(rows, plan.metric, higher_is_better=higher, rate_weight=plan.rate_weight)
    ]


def _complaint(rows: list[Row]) -> str:
    """Reason why a picture has no label; empty where a row is chosen."""
    if any(row.chosen for row in rows):
        return ""
    return f"no group could be applied: {rows[0].error}" if rows else "no group could be applied"


class _Candidates:
    """Groups of one picture or patch; groups that begin alike share intermediate pictures."""

    def __init__(self, plan: Plan, place: _Place, path: str, sha256: str) -> None:
        self._plan = plan
        self._place = place
        self._path = path
        self._sha256 = sha256
        self._image, self._session = Session.of(place.image, plan.chosen_codec, plan.setting, plan.backend)
        self._filtered: dict[tuple[str, ...], Pixels | KcompressError] = {(): self._image.pixels}
        self._scorer = Scorer(place.image.pixels, plan.metrics)

    def rows_and_label(self, before: Mapping[Key, Row]) -> tuple[list[Row], list[tuple[str, bytes]]]:
        """Rows of all groups, known ones included, and the label as (name, PNG)."""
        rows = []
        for group in self._plan.groups:
            key = _key(self._plan, group, self._session.backend, self._sha256, self._place.left, self._place.top)
            known = before.get(key)
            rows.append(replace(known, path=self._path) if known else self._row(key, group))
        rows = _chosen(self._plan, rows)
        return rows, [
            (row.label, write(Image(self._label(group)), "PNG"))
            for row, group in zip(rows, self._plan.groups, strict=True)
            if row.chosen
        ]

    def _row(self, key: Key, group: Group) -> Row:
        start = time.perf_counter()
        size, bpp, scores, error = None, None, {}, ""
        try:
            encoded = self._encoded(group)
            size, bpp = len(encoded.data), encoded.bpp
            scores = self._scorer(decode(encoded.data, self._path).pixels)
        except Exception as raised:
            # One line: a row that a kill cuts short is then a line that is cut short.
            size, bpp, scores, error = None, None, {}, " ".join(str(failure_of(raised, self._path)).split())
        return Row(
            **key._asdict(), path=self._path, width=self._image.width, height=self._image.height,
            bytes=size, bpp=bpp, z_quality=None, z_bpp=None, score=None, chosen=0, label="",
            seconds=round(time.perf_counter() - start, 3), error=error, scores=scores,
        )  # fmt: skip

    def _pixels(self, group: Group) -> Pixels:
        """Filtered pixels, cached for all groups that begin alike, failures included."""
        names = tuple(filter.name for filter in group.filters)
        if names not in self._filtered:
            try:
                found = group.filters[-1].apply(self._pixels(group.prefix))
                self._filtered[names] = self._image.with_pixels(found).pixels  # grey stays grey
            except KcompressError as error:
                self._filtered[names] = error
            # A filter is foreign code: whatever it raises is its row's error, and the run goes on.
            except Exception as error:
                self._filtered[names] = KcompressError(f"{group.filters[-1].name}: {type(error).__name__}: {error}")
        result = self._filtered[names]
        if isinstance(result, KcompressError):
            raise result
        return result

    def _label(self, group: Group) -> Pixels:
        if self._plan.stage == "filtered":
            return self._pixels(group)
        return decode(self._encoded(group).data, self._path).pixels

    def _encoded(self, group: Group) -> Encoded:
        return self._session.encode(self._image.with_pixels(self._pixels(group)))
