"""Lossless files of drawings and screenshots, where they are smaller than lossy ones."""

from collections.abc import Callable
from dataclasses import replace

from kcompress.codecs.originals import codec_of
from kcompress.errors import UnsupportedError
from kcompress.images import Image
from kcompress.networks import NONE
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.search.plan import EncodePlan, EncodeResult
from kcompress.workers import one_thread

METRIC = "ssimulacra2"
"""Metric by which a file with small losses must not be below the lossy one."""

_WORTH_TRYING = 0.5
"""Share of a lossless input's bytes from which on a lossless file may be smaller; of photographs it is a fifth."""


def better_lossless(plan: EncodePlan, result: EncodeResult, data: bytes, picture: Callable[[], Image]) -> EncodeResult:
    """The result, or a lossless or near-lossless file of the codec that is smaller and scores no less.

    Tried where the input is in a lossless format and the result is large beside it. With a target of size, whatever
    is lossless and holds it is better than the result.
    """
    lossy, target = result.encoded, result.target
    if plan.codec.lossless is None or codec_of(data) is not None or len(lossy.data) < _WORTH_TRYING * len(data):
        return result
    if plan.setting.raw:
        return result
    image = plan.codec.conformed(picture())
    files = [
        (kind, plan.codec.with_metadata(coded, image, plan.setting)[0])
        for kind, coded in plan.codec.lossless(image, plan.setting.effort)
    ]
    if target is None or target.metric is not None:
        files = sorted((each for each in files if len(each[1]) < len(lossy.data)), key=lambda each: len(each[1]))
    for kind, found in files:
        encoded = replace(lossy, data=found, network=NONE)
        if target is not None and target.metric is None and not target.holds(target.measured(encoded, None)):
            continue
        if kind != "lossless" and not _scores_no_less(image, found, lossy.data):
            continue
        than = "holds the target, too," if len(found) >= len(lossy.data) else "is smaller than the lossy file"
        note = f"{kind} {plan.codec.name} {than} and was kept"
        kept = replace(result, encoded=replace(encoded, notes=(*image.notes, note)), kept=kind)
        return replace(kept, selection=None, refinement=None, reached=_reached(kept, image))
    return result


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
