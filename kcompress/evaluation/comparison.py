"""Files against their original: sizes and scores, of pictures made comparable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kcompress.codecs import decode
from kcompress.errors import UnsupportedError
from kcompress.images import Image, apply_metadata_policy, bits_per_pixel
from kcompress.metrics import METRICS, Scorer

WHITE = (255, 255, 255)


@dataclass(frozen=True)
class File:
    """A picture file as it is compared: its size in bytes, the picture in sRGB over white, how it was made comparable.

    Scores are by name of the metric; None where the picture is too small for it.
    """

    name: str
    size: int
    image: Image
    scores: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def bpp(self) -> float:
        """Bits per pixel."""
        return bits_per_pixel(self.size, self.image.width, self.image.height)


@dataclass(frozen=True)
class Comparison:
    """An original and other files of the same picture, with their scores, and notes on all of them.

    The original's own scores are those of metrics without reference.
    """

    original: File
    others: tuple[File, ...]
    metrics: tuple[str, ...]
    notes: tuple[str, ...] = ()


def opened(data: bytes, name: str) -> File:
    """Decode a picture file for comparison: colours become sRGB, transparency becomes white.

    Raises:
        InputError: corrupt, truncated, or no known format.
    """
    image = decode(data, name, metadata="all", strict=True)
    if image.icc is not None:
        image = apply_metadata_policy(image, "none")
        image = image.noted("its colours were converted to sRGB through its ICC profile")
    if image.alpha is not None:
        image = image.flattened(WHITE).noted("its transparency was laid over white")
    return File(name, len(data), image, notes=image.notes)


def compare(original: File, others: Sequence[File], metrics: Sequence[str] | None = None) -> Comparison:
    """Score files of one size in pixels against their original.

    Without names of metrics all that are installed count, and a picture too small for one has no score in it.

    Raises:
        UnsupportedError: the sizes differ, or the picture is too small for a metric that was asked for.
        UsageError: no such metric.
        MissingProgramError: a metric that was asked for is not installed.
    """
    width, height = original.image.width, original.image.height
    for other in others:
        if (other.image.width, other.image.height) != (width, height):
            raise UnsupportedError(
                f"{other.name} has {other.image.width}x{other.image.height} pixels, {original.name} {width}x{height}. "
                "Compare pictures of one size."
            )
    wanted = tuple(metrics or (name for name, metric in METRICS.items() if metric.available()))
    small = [name for name in wanted if metrics is None and min(width, height) < METRICS[name].smallest_side]
    score = Scorer(original.image.pixels, [name for name in wanted if name not in small])
    unscored: dict[str, float | None] = dict.fromkeys(wanted)
    without_reference = [name for name in wanted if name not in small and not METRICS[name].reference]
    return Comparison(
        replace(original, scores=Scorer(original.image.pixels, without_reference)(original.image.pixels)),
        tuple(replace(other, scores=unscored | score(other.image.pixels)) for other in others),
        wanted,
        tuple(f"{name} needs {METRICS[name].smallest_side} pixels a side" for name in small),
    )


def counted(count: int, noun: str) -> str:
    """A number of things for people."""
    return f"{count} {noun}{'s' * (count != 1)}"


def score_text(score: float | None, absent: str = "-") -> str:
    """A score for people: four significant digits."""
    return absent if score is None else f"{score:#.4g}"
