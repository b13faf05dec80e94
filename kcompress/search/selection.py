"""Selection: one picture through several preprocessors and through none, and what measures best is kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kcompress.codecs import Codec
from kcompress.encoding import Encoded, encode
from kcompress.errors import UnsupportedError
from kcompress.images import Image
from kcompress.networks import DEFAULTS, NONE, Preprocessor
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.setting import Setting

METRIC = "ssimulacra2"
"""By which preprocessors are compared."""


@dataclass(frozen=True)
class Candidate:
    """What one preprocessor made of the picture.

    Attributes:
        network: its name, or ``none``.
        size: of the file, bytes.
        score: SSIMULACRA2, of the file against the original.
        cost: against the plain codec, as ln; see `rate_distortion.cost.Cost`.
        eligible: its score is not below the plain codec's a tenth of the quality scale coarser.
        preprocessor: itself.
    """

    network: str
    size: int
    score: float
    cost: float
    eligible: bool
    preprocessor: Preprocessor | None


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    Attributes:
        encoded: the file that is kept.
        preprocessor: that was before it.
        candidates: all that were tried, best first, those that are not eligible last; none where the picture
            cannot be judged.
        seconds: wall time of everything.
    """

    encoded: Encoded
    preprocessor: Preprocessor | None
    candidates: tuple[Candidate, ...]
    seconds: float


def select(
    image: Image, codec: Codec, setting: Setting, preprocessors: Sequence[Preprocessor | None], backend: str = "auto"
) -> Selection:
    """Encode a picture with every preprocessor and with none, and keep the file of the lowest cost.

    The cost is ln(bytes) less what the plain codec would pay for the change of SSIMULACRA2, by its own slope on this
    picture (`rate_distortion.cost`). By that measure the file kept is never worse than the plain codec's. Nor does it
    score lower than the plain codec would a tenth of its scale coarser: a slope says nothing about pictures that are
    much worse, and the quality that was asked for is to be there. Of equals the plain codec's is taken, then the
    first. A picture that is too small for SSIMULACRA2 gets the codec's default
    preprocessor, if it is among them, or else none, and a note.

    Args:
        image: the picture.
        codec: that writes the files.
        setting: of the files.
        preprocessors: to try; None, for none of them, is tried whether it is there or not.
        backend: of the codec.

    Raises:
        UnsupportedError: the codec cannot hold the picture.
        ProgramError: no encoder is there, or it failed.
    """
    start = time.perf_counter()
    image = codec.accepted(image)
    try:
        judge = RateDistortionCost(image, codec, setting, {METRIC: 1.0}, backend)
    except UnsupportedError:
        return _default(image, codec, setting, preprocessors, backend, start)
    best = judge.plain
    candidates = [Candidate(NONE, len(best.data), judge.scores[METRIC], 0.0, True, None)]
    for preprocessor in preprocessors:
        if preprocessor is None:
            continue
        encoded = encode(image, codec, setting, preprocessor, backend)
        judged = judge(encoded.data)
        score = judged.scores[METRIC]
        eligible = judge.floor is None or score >= judge.floor[METRIC]
        if eligible and judged.cost < min(each.cost for each in candidates if each.eligible):
            best = encoded
        candidates.append(Candidate(preprocessor.name, judged.size, score, judged.cost, eligible, preprocessor))
    candidates.sort(key=lambda each: (not each.eligible, each.cost))  # stable: of equals the first stays before
    return Selection(best, candidates[0].preprocessor, tuple(candidates), time.perf_counter() - start)


def _default(
    image: Image, codec: Codec, setting: Setting, preprocessors: Sequence[Preprocessor | None], backend: str,
    start: float,
) -> Selection:  # fmt: skip
    name = DEFAULTS[codec.name]
    # Weights are named after the network and their codec, which for some is another, alike one.
    preprocessor = next((each for each in preprocessors if each and each.name.partition("-")[0] == name), None)
    encoded = encode(image, codec, setting, preprocessor, backend)
    note = f"too small for SSIMULACRA2, by which --network auto chooses: {encoded.network} was taken"
    return Selection(replace(encoded, notes=(*encoded.notes, note)), preprocessor, (), time.perf_counter() - start)
