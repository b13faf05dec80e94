"""Lossless and near-lossless files, where they are smaller than lossy ones or alone hold a target."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

from kcompress.codecs.lossless import LOSSLESS, kind
from kcompress.codecs.originals import codec_of
from kcompress.encoding import Encoded
from kcompress.errors import UnsupportedError
from kcompress.images import Image
from kcompress.networks import NONE
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.search.plan import EncodePlan, EncodeResult
from kcompress.search.target import Target
from kcompress.workers import one_thread

METRIC = "ssimulacra2"
"""Metric by which a file with small losses must not be below the lossy one."""

_NEAR = 60
"""Level of the near-lossless files of drawings."""

_WORTH_TRYING = 0.5
"""Share of a lossless input's bytes from which on a lossless file may be smaller; of photographs it is a fifth."""


def better_lossless(plan: EncodePlan, result: EncodeResult, data: bytes, picture: Callable[[], Image]) -> EncodeResult:
    """The result, or a lossless or near-lossless file of the codec that is smaller and scores no less.

    Tried where the input is in a lossless format and the result is large beside it. With a target of size, whatever
    is lossless and holds it is better than the result.
    """
    lossy, target = result.encoded, result.target
    if plan.codec.lossless is None or plan.setting.raw:
        return result
    if codec_of(data) is not None or len(lossy.data) < _WORTH_TRYING * len(data):
        return result
    image = plan.codec.conformed(picture())
    levels = [level for level in (LOSSLESS, _NEAR) if level in plan.codec.lossless.levels(image)]
    files = [(level, _encoded(plan, image, level, lossy)) for level in levels]
    if target is None or target.metric is not None:
        smaller = (each for each in files if len(each[1].data) < len(lossy.data))
        files = sorted(smaller, key=lambda each: len(each[1].data))
    for level, found in files:
        if target is not None and target.metric is None and not target.holds(target.measured(found, None)):
            continue
        if level != LOSSLESS and not _scores_no_less(image, found.data, lossy.data):
            continue
        than = "holds the target, too," if len(found.data) >= len(lossy.data) else "is smaller than the lossy file"
        kept = _kept(result, found, level, f"{kind(level)} {plan.codec.name} {than} and was kept")
        return replace(kept, reached=_reached(kept, image))
    return result


def finer_than_lossy(
    plan: EncodePlan, target: Target, lossy: EncodeResult, image: Image, scores: FileScorer
) -> EncodeResult:
    """The coarsest near-lossless or lossless file that scores enough; the lossy result where the codec has none.

    Args:
        plan: of the encode.
        target: a score, which no lossy file holds.
        lossy: nearest result.
        image: as the codec can hold it.
        scores: of files of it.

    Raises:
        ProgramError: the encoder failed.
    """
    levels = plan.codec.lossless.levels(image) if plan.codec.lossless else ()
    tried: dict[int, tuple[Encoded, float]] = {}

    def holds(level: int) -> bool:
        found = _encoded(plan, image, level, lossy.encoded)
        tried[level] = found, target.measured(found, scores)
        return target.holds(tried[level][1])

    place = bisect_left(levels, True, key=holds)
    result = replace(lossy, tries=lossy.tries + len(tried))
    if place == len(levels):
        return result
    level = levels[place]
    encoded, reached = tried[level]
    note = f"no lossy {plan.codec.name} holds the target {target}, so it is {kind(level)} (level {level})"
    return replace(_kept(result, encoded, level, note), reached=reached)


def _encoded(plan: EncodePlan, image: Image, level: int, lossy: Encoded) -> Encoded:
    """File of a level, with the metadata and notes of the picture alone."""
    assert plan.codec.lossless is not None  # as it has levels
    coded = plan.codec.lossless.encode(image, plan.setting.effort, level)
    data, notes = plan.codec.with_metadata(coded, image, plan.setting)
    return replace(lossy, data=data, network=NONE, notes=(*image.notes, *notes))


def _kept(result: EncodeResult, encoded: Encoded, level: int, note: str) -> EncodeResult:
    """The result with a lossless or near-lossless file in place of its own."""
    return replace(result, encoded=encoded, kept=kind(level), selection=None, refinement=None).noted(note)


def _scores_no_less(image: Image, found: bytes, lossy: bytes) -> bool:
    one_thread()  # the same scores on every machine
    try:
        score = FileScorer(image, [METRIC])
    except UnsupportedError:  # too small
        return False
    return score(found)[METRIC] >= score(lossy)[METRIC]


def _reached(result: EncodeResult, image: Image) -> float | None:
    target = result.target
    if target is None:
        return None
    return target.measured(result.encoded, FileScorer(image, [target.metric]) if target.metric else None)
