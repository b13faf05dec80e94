"""One encode of one picture: preprocess, choose, refine, encode."""

from collections.abc import Callable

from kcompress.encoding import Session, encode, preprocessed
from kcompress.images import Image
from kcompress.search.plan import EncodePlan, EncodeResult
from kcompress.search.refinement import Progress, refinable, refined
from kcompress.search.selection import select
from kcompress.workers import drained


def encode_once(
    plan: EncodePlan, picture: Callable[[], Image], length: int, tell: Callable[[Progress], None] | None = None
) -> EncodeResult:
    """The picture at the quality of the plan's setting.

    Args:
        plan: with codec, setting and preprocessors.
        picture: gives the picture.
        length: of the input, bytes.
        tell: is told how far a refinement is.

    Raises:
        InputError: the picture cannot be read.
        UnsupportedError: the codec cannot hold it.
        ProgramError: the encoder failed.
    """
    if not (plan.auto or plan.refine):
        # Handed on without a name: nothing here keeps the pixels when the preprocessor has made new ones.
        (preprocessor,) = plan.preprocessors
        return EncodeResult(encode(picture(), plan.codec, plan.setting, preprocessor, plan.backend), length)
    image, session = Session.of(picture(), plan.codec, plan.setting, plan.backend)
    selection = None
    if plan.auto:
        selection = select(image, session, plan.preprocessors)
        encoded, preprocessor = selection.encoded, refinable(selection, plan.setting)
    else:
        (preprocessor,) = plan.preprocessors
        encoded = session.encode(*preprocessed(image, preprocessor, session.setting))
    if not plan.refine:
        return EncodeResult(encoded, length, selection)
    steps = refined(
        image, session, preprocessor, encoded, steps=plan.refine, weights=plan.weights, threads=plan.threads,
        device=plan.device,
    )  # fmt: skip
    encoded, refinement = drained(steps, tell)
    return EncodeResult(encoded, length, selection, refinement)
