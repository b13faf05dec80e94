"""The whole way of one picture: read, resize, encode as planned, and keep what was there where nothing is gained."""

from collections.abc import Callable

from kcompress.codecs import Codec
from kcompress.images import Image, read
from kcompress.search.keep_original import at_own, better_original, not_coded_again, own_of
from kcompress.search.lossless import better_lossless
from kcompress.search.plan import EncodePlan, EncodeResult
from kcompress.search.refinement import Progress
from kcompress.search.single import encode_once
from kcompress.search.targeted import check_size, encode_to_target


def run(
    plan: EncodePlan, data: bytes, name: str, tell: Callable[[Progress], None] | None = None,
    picture: Callable[[], Image] | None = None,
) -> EncodeResult:  # fmt: skip
    """Compress one picture file.

    Args:
        plan: of the encode.
        data: the file.
        name: of the file, for people.
        tell: is told how far a refinement is.
        picture: gives what `picture_of` gives, where it is there already.

    Raises:
        InputError: the picture cannot be read.
        UnsupportedError: the codec cannot hold it, or has no file that is as small as its target.
        ProgramError: the encoder failed.
    """
    picture = picture or (lambda: picture_of(plan, data, name, plan.codec))
    own = own_of(plan, data)
    if plan.target is not None:
        result = encode_to_target(plan, plan.target, picture(), len(data), tell, own)
    elif own is not None and plan.setting.quality >= own.quality:
        plan = at_own(plan, own)
        untouched = not_coded_again(plan, data, name)
        if untouched is not None:
            return untouched
        note = "-q is not below the input's own quality, which was taken, without a network"
        result = encode_once(plan, picture, len(data), tell).noted(note)
    else:
        result = encode_once(plan, picture, len(data), tell)
    result = better_lossless(plan, result, data, picture)
    result = better_original(plan, result, data, name, picture)
    check_size(result, name)
    return result


def picture_of(plan: EncodePlan, data: bytes, name: str, *codecs: Codec) -> Image:
    """The picture of a file in the size that is planned, which one of the codecs can hold.

    Raises:
        InputError: it cannot be read.
        UnsupportedError: no codec can hold it.
    """
    widest = max(codecs, key=lambda codec: codec.max_side)

    def check(width: int, height: int) -> None:
        widest.check_sides(*(plan.resize.size(width, height) if plan.resize else (width, height)))

    image = read(
        data, name=name, frame=plan.frame, background=plan.background, check_sides=check, metadata=plan.metadata
    )
    return plan.resize(image) if plan.resize else image
