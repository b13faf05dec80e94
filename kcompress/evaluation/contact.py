"""Contact sheet of encoded pictures: before and after, side by side, worst first."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from jinja2.filters import do_filesizeformat as decimal_size
from PIL import Image as Pil

from kcompress.codecs import decode
from kcompress.errors import UnsupportedError
from kcompress.evaluation.page import render
from kcompress.images import Image, Resize, apply_metadata_policy, pillow
from kcompress.rate_distortion.scoring import FileScorer

METRIC = "ssimulacra2"
"""Metric by which pictures are sorted."""

_SIDE = 400
"""Longest side of a picture on the sheet, pixels."""


@dataclass(frozen=True)
class Shot:
    """Small pictures of an original and of its result as ``data:`` URIs, and the score; None for a tiny picture."""

    before: str
    after: str
    score: float | None


@dataclass(frozen=True)
class Entry:
    """One picture of a sheet: file names, bytes before and after, settings in words, and how it looks."""

    source: str
    target: str
    length: int
    size: int
    about: str
    shot: Shot

    @property
    def link(self) -> str:
        """Target as a URL."""
        return quote(self.target, errors="surrogateescape")

    @property
    def sizes(self) -> str:
        """Bytes before and after, for people."""
        change = 100 * (self.size / self.length - 1)
        return f"{decimal_size(self.length)} \u2192 {decimal_size(self.size)} ({change:+.1f} %)"


def shot(image: Image, data: bytes) -> Shot:
    """Small pictures and score of a file against the picture that was encoded.

    Raises:
        InputError: the file cannot be decoded.
    """
    try:
        score = FileScorer(image, [METRIC])(data)[METRIC]
    except UnsupportedError:
        score = None
    return Shot(_small(image), _small(decode(data)), score)


def contact_page(entries: Sequence[Entry], count: int, failures: Sequence[str]) -> str:
    """Page of the worst ``entries`` of ``count``, worst first, and of what failed."""
    return render("contact.html", entries=entries, count=count, failures=failures)


def _small(image: Image) -> str:
    image = apply_metadata_policy(Resize(max_side=_SIDE)(image).flattened((255, 255, 255)), "none")
    output = io.BytesIO()
    picture: Pil.Image = pillow(image)
    picture.save(output, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(output.getvalue()).decode()
