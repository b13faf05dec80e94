"""One picture until it has the size or score that is asked for, with ``auto`` and refinement."""

from collections.abc import Callable
from dataclasses import replace

from kcompress.errors import UnsupportedError
from kcompress.images import Image
from kcompress.networks import DEFAULTS
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.search.keep_original import Own, at_own
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
    An input that tells its quality is never coded more finely than it is.

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
    scale, codec = plan.codec.quality, plan.codec.name
    step = 1 if scale.finest > scale.coarsest else -1
    qualities = range(scale.coarsest, (scale.finest if own is None else own.quality) + step, step)

    def search(plan: EncodePlan, start: int, most: int = TRIES) -> Reached[EncodeResult]:
        def attempt(quality: int) -> tuple[EncodeResult, float]:
            there = at_own(plan, own) if own and quality == own.quality else plan.at(quality)
            found = encode_once(there, lambda: image, length, tell)
            return found, target.measured(found.encoded, scores)

        return reach(target, attempt, codec, qualities, start, most)

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
        refined = search(replace(alone, preprocessors=preprocessors, refine=plan.refine), found.quality, _REFINED_TRIES)
        tries += refined.tries
        found = refined if refined.holds else better(target, found, refined)
    result = replace(found.result, selection=selection, target=target, reached=found.measured, tries=tries)
    if found.holds:
        return result
    finer = target.metric and plan.setting.chroma == "420" and "444" in plan.codec.chromas
    advice = ", and --chroma 444 may have more" if finer else ""
    return result.noted(f"the target {target} was not reached; the nearest is {target.shown(found.measured)}{advice}")
