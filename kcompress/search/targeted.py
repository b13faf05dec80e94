"""One picture until it has the size or score that is asked for, with ``auto`` and refinement."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from kcompress.errors import UnsupportedError
from kcompress.images import Image
from kcompress.networks import DEFAULTS
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.search.keep_original import Own, at_own
from kcompress.search.lossless import finer_than_lossy
from kcompress.search.plan import EncodePlan, EncodeResult
from kcompress.search.refinement import Progress, refinable
from kcompress.search.single import encode_once
from kcompress.search.target import TRIES, Reached, Target, better, first, reach

_REFINED_TRIES = 3
"""Most refinements of a search: each takes as long as very many encodes."""


def encode_to_target(
    plan: EncodePlan, target: Target, image: Image, length: int, tell: Callable[[Progress], None] | None = None,
    own: Own | None = None,
) -> EncodeResult:  # fmt: skip
    """The best file that holds a target, or else the nearest one, with a note.

    What ``auto`` and refinement choose depends on the quality, and they take long. So the quality is found for one
    network first. There ``auto`` chooses, and the search goes on for what it chose, and again for what is refined.
    An input that tells its quality is never coded more finely than it is. Where 4:2:0 has too few colours for a score
    and no sampling was asked for, its chroma becomes finer. What no lossy file holds may become near-lossless.

    Raises:
        UnsupportedError: the codec cannot hold the picture.
        ProgramError: the encoder failed.
    """
    image = plan.codec.conformed(image)
    try:
        scores = FileScorer(image, [target.metric]) if target.metric else None
    except UnsupportedError as error:
        plain = encode_once(replace(plan, target=None), lambda: image, length, tell)
        return plain.noted(f"too small for its target, the default -q was taken: {error}")
    found, tries = _search(plan, target, image, length, tell, own, scores)
    for finer, note in _finer(plan, image) if scores else ():
        if found.holds:
            break
        other, more = _search(finer, target, image, length, tell, own, scores)
        found, tries = better(target, found, other), tries + more
        if found is other:
            found = replace(other, result=other.result.noted(note))
    result = replace(found.result, target=target, reached=found.measured, tries=tries)
    if not result.holds and scores and own is None:
        result = finer_than_lossy(plan, target, result, image, scores)
    if result.holds or not scores:
        return result
    return result.noted(f"the target {target} was not reached; the nearest is {target.shown(found.measured)}")


def check_size(result: EncodeResult, name: str) -> None:
    """Refuse a file that is larger than its target.

    Raises:
        UnsupportedError: it is.
    """
    if result.target is None or result.target.metric or result.holds:
        return
    encoded = result.encoded
    least = f"{len(encoded.data)} bytes ({math.ceil(1e4 * encoded.bpp) / 1e4:g} bits per pixel)"
    raise UnsupportedError(
        f"{name} takes at least {least} as {encoded.setting.codec}, more than the target {result.target}. Allow more, "
        "make it smaller by --max-side, or take another --codec."
    )


def _finer(plan: EncodePlan, image: Image) -> Iterator[tuple[EncodePlan, str]]:
    """The plan with finer chroma, where that can be had and is left to choose, and what to say then."""
    codec, setting = plan.codec, plan.setting
    if not plan.finer_chroma or image.grey:
        return
    full = replace(setting, chroma="444")
    if "444" in codec.chromas and codec.backend(plan.backend).cannot(full) is None:
        yield replace(plan, setting=full), "4:2:0 cannot hold its target, so it has 4:4:4"
    if codec.sharp_yuv is not None and codec.backend(plan.backend).sharp_yuv and not setting.sharp_yuv:
        sharp = replace(setting, sharp_yuv=True)
        yield replace(plan, setting=sharp), "plain chroma cannot hold its target, so it is sharp (--sharp-yuv)"


def _search(
    plan: EncodePlan, target: Target, image: Image, length: int, tell: Callable[[Progress], None] | None,
    own: Own | None, scores: FileScorer | None,
) -> tuple[Reached[EncodeResult], int]:  # fmt: skip
    """The best result in the plan's sampling, and the number of encodes."""
    scale, codec = plan.codec.quality, plan.codec.name
    qualities = scale.up_to(scale.finest if own is None else own.quality)

    def search(plan: EncodePlan, start: int, most: int = TRIES, *, to_end: bool = True) -> Reached[EncodeResult]:
        def attempt(quality: int) -> tuple[EncodeResult, float]:
            there = at_own(plan, own) if own and quality == own.quality else plan.at(quality)
            found = encode_once(there, lambda: image, length, tell)
            return found, target.measured(found.encoded, scores)

        return reach(target, attempt, codec, qualities, start, most, to_end=to_end)

    default = next((each for each in plan.preprocessors if each and each.network == DEFAULTS[codec]), None)
    alone = replace(plan, auto=False, refine=0, preprocessors=(default,) if plan.auto else plan.preprocessors)
    found = search(alone, first(target, codec, qualities, image.width, image.height))
    tries, selection = found.tries, None
    if plan.auto:
        selection = encode_once(replace(plan, refine=0).at(found.quality), lambda: image, length).selection
        assert selection is not None
        if selection.preprocessor is not default:
            found = search(replace(alone, preprocessors=(selection.preprocessor,)), found.quality)
            tries += found.tries
    if plan.refine:
        preprocessors = (refinable(selection, plan.setting),) if selection else plan.preprocessors
        finest = replace(alone, preprocessors=preprocessors, refine=plan.refine)
        refined = search(finest, found.quality, _REFINED_TRIES, to_end=False)
        tries += refined.tries
        found = refined if refined.holds else better(target, found, refined)
    return replace(found, result=replace(found.result, selection=selection)), tries
