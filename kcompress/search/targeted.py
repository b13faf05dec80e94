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
    An input that tells its quality is never coded more finely than it is. Where 4:2:0 has too few colours for a score
    and no sampling was asked for, it becomes 4:4:4.

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
    finer = replace(plan, setting=replace(plan.setting, chroma="444"))
    if not found.holds and target.metric and plan.finer_chroma and not image.grey and _can(finer):
        other, more = _search(finer, target, image, length, tell, own, scores)
        found, tries = better(target, found, other), tries + more
        if found is other:
            found = replace(other, result=other.result.noted("4:2:0 cannot hold its target, so it has 4:4:4"))
    result = replace(found.result, target=target, reached=found.measured, tries=tries)
    if found.holds:
        return result
    return result.noted(f"the target {target} was not reached; the nearest is {target.shown(found.measured)}")


def _can(plan: EncodePlan) -> bool:
    """Whether codec and encoder have the plan's sampling."""
    codec = plan.codec
    return plan.setting.chroma in codec.chromas and codec.backend(plan.backend).cannot(plan.setting) is None


def _search(
    plan: EncodePlan, target: Target, image: Image, length: int, tell: Callable[[Progress], None] | None,
    own: Own | None, scores: FileScorer | None,
) -> tuple[Reached[EncodeResult], int]:  # fmt: skip
    """The best result in the plan's sampling, and the number of encodes."""
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
    return replace(found, result=replace(found.result, selection=selection)), tries
