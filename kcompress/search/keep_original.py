"""The input's own file in place of a result that is hardly smaller, so that nothing gets worse for nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kcompress.codecs.jpeg import BEST_SCANS
from kcompress.codecs.originals import OwnTables, codec_of, own_tables, under_policy, webp_quality
from kcompress.encoding import Encoded
from kcompress.errors import KcompressError
from kcompress.images import Image, read
from kcompress.images.jpeg import tells_damage
from kcompress.networks import NONE
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.search.plan import EncodePlan, EncodeResult

_UNTOLD = 0.1
"""Least saving of HEIC and AVIF files by another encode."""

_BEST_SCANS_LEAVE = 0.6
"""Share of a JPEG's bytes that its best scans take at least: beside far smaller results they need not be looked for."""


@dataclass(frozen=True)
class Own:
    """Quality that an input has already, on its codec's scale, and of JPEG its quantisation tables."""

    quality: int
    tables: OwnTables | None = None


def own_of(plan: EncodePlan, data: bytes) -> Own | None:
    """Quality of an input that its own codec is to code once more, at its own size; None where it is not told."""
    if plan.min_saving is None or plan.resize is not None or codec_of(data) != plan.codec.name:
        return None
    if plan.codec.name == "jpeg":
        tables = own_tables(data)
        return None if tables is None else Own(tables.quality, tables)
    quality = webp_quality(data) if plan.codec.name == "webp" else None
    return None if quality is None else Own(quality)


def at_own(plan: EncodePlan, own: Own) -> EncodePlan:
    """The plan at the quality that the input has: by its own tables, without a network."""
    plain = replace(plan.at(own.quality), preprocessors=(None,), auto=False, refine=0)
    backend = plan.codec.backend(plan.backend)
    if own.tables is None or backend.trellis:
        return plain
    codec = replace(plan.codec, tables=own.tables)
    chroma = own.tables.sampling if own.tables.sampling in (backend.chromas or codec.chromas) else plan.setting.chroma
    return replace(plain, codec=codec, setting=codec.setting(own.quality, chroma, plan.setting.effort))


def not_coded_again(plan: EncodePlan, data: bytes, name: str) -> EncodeResult | None:
    """The input itself, of whose quality nothing is to be lost; None where it cannot stand for a result."""
    found = _under_policy(plan, data, plan.setting.effort == BEST_SCANS)
    image = None if found is None else _image_of(plan, data, found, name)
    if found is None or image is None:
        return None
    return _as_it_is(plan, found, len(data), image, "-q is not below the input's own quality: it was not coded again")


def left_alone(plan: EncodePlan, data: bytes, name: str) -> EncodeResult | None:
    """The input as it is where a result in its place would lack something: bits, a gain map, colours beyond sRGB.

    Raises:
        InputError: the picture cannot be read.
    """
    image = read(data, name=name, metadata="all")
    if not image.notes:
        return None
    note = f"it was left as it is, as not everything could be kept: {image.notes[0]}"
    return _as_it_is(plan, data, len(data), replace(image, notes=()), note)


def _as_it_is(plan: EncodePlan, found: bytes, length: int, image: Image, note: str) -> EncodeResult:
    backend, notes = plan.codec.backend(plan.backend), (*image.notes, note)
    encoded = Encoded(
        found, image.width, image.height, plan.setting, backend.name, backend.version() or "", NONE, 0.0, 0.0, notes
    )
    return replace(EncodeResult(encoded, length), kept="original")


def _least_saving(plan: EncodePlan) -> float:
    """Share of bytes to be saved: more where a format does not tell its quality, as every encode loses some."""
    return max(plan.min_saving or 0.0, 0.0 if plan.codec.name in ("jpeg", "webp") else _UNTOLD)


def better_original(
    plan: EncodePlan, result: EncodeResult, data: bytes, name: str, picture: Callable[[], Image]
) -> EncodeResult:
    """The result, or the input's own file where the result saves less than ``min_saving`` of it.

    With a target only where the input holds it, and in any case where it alone does.
    """
    found = _under_policy(plan, data)
    if found is None or plan.min_saving is None:
        return result
    least = _least_saving(plan)
    target, size = result.target, len(result.encoded.data) / (1 - least)
    if result.holds and size <= _BEST_SCANS_LEAVE * len(found):
        return result
    if plan.setting.effort == BEST_SCANS:
        found = _under_policy(plan, data, best_scans=True) or found
    if result.holds and size <= len(found):
        return result
    encoded = replace(result.encoded, data=found, network=NONE)
    reached = None
    if target is not None:
        scores = FileScorer(plan.codec.conformed(picture()), [target.metric]) if target.metric else None
        reached = target.measured(encoded, scores)
        if not target.holds(reached):
            return result
    image = _image_of(plan, data, found, name)
    if image is None:
        return result
    note = f"the result would not be smaller by {100 * least:g} %: the original was kept"
    encoded = replace(encoded, notes=(*image.notes, note))
    return replace(result, encoded=encoded, reached=reached, kept="original", selection=None, refinement=None)


def _under_policy(plan: EncodePlan, data: bytes, best_scans: bool = False) -> bytes | None:
    """The input with the metadata that the plan keeps; None where more than its quality and metadata are to change."""
    codec, setting = plan.codec.name, plan.setting
    if plan.min_saving is None or plan.resize is not None or plan.frame is not None or setting.raw or setting.bits > 8:
        return None
    if codec_of(data) != codec or (codec == "jpeg" and not setting.effort):  # one scan, as asked for
        return None
    return under_policy(data, codec, plan.metadata, best_scans=best_scans)


def _image_of(plan: EncodePlan, data: bytes, found: bytes, name: str) -> Image | None:
    """The picture of both files, with notes on what the second lacks.

    None where they show other pixels or colours, or a profile is to go and does not.
    """
    try:
        before = read(data, name=name, metadata=plan.metadata, background=plan.background)
        after = read(found, name=name, metadata="all")
    except KcompressError:
        return None
    same = before.icc == after.icc and before.grey == after.grey and np.array_equal(before.pixels, after.pixels)
    if before.alpha is not None and after.alpha is not None:
        same = same and np.array_equal(before.alpha, after.alpha)
    elif before.alpha is not after.alpha:
        same = False
    if not same:
        return None
    notes = (note for note in before.notes if note not in after.notes or tells_damage(note))
    return replace(before, notes=tuple(notes))
