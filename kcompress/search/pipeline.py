"""The whole way of one picture: read, encode as planned, compare with what was there."""

from collections.abc import Callable

from kcompress.images import Image, read
from kcompress.search.plan import EncodePlan, EncodeResult
from kcompress.search.refinement import Progress
from kcompress.search.single import encode_once
from kcompress.search.targeted import encode_to_target


def run(plan: EncodePlan, data: bytes, name: str, tell: Callable[[Progress], None] | None = None) -> EncodeResult:
    """Compress one picture file, whose name is for people; ``tell`` is told how far its refinement is.

    Raises:
        InputError: the picture cannot be read.
        UnsupportedError: the codec cannot hold it.
        ProgramError: the encoder failed.
    """
    if plan.target is None:
        return encode_once(plan, lambda: _picture(plan, data, name), len(data), tell)
    return encode_to_target(plan, plan.target, _picture(plan, data, name), len(data), tell)


def _picture(plan: EncodePlan, data: bytes, name: str) -> Image:
    return read(
        data, name=name, frame=plan.frame, background=plan.background, check_sides=plan.codec.check_sides,
        metadata=plan.metadata,
    )  # fmt: skip
