"""Selection: one picture through several preprocessors and through none, and what measures best is kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kcompress.encoding import Encoded, Session, preprocessed
from kcompress.errors import UnsupportedError
from kcompress.images import Image
from kcompress.networks import NONE, Preprocessor, default_network
from kcompress.rate_distortion.cost import RateDistortionCost

METRIC = "ssimulacra2"
"""Metric by which preprocessors are compared."""


@dataclass(frozen=True)
class Candidate:
    """One preprocessor, by name, tried on the picture: bytes and SSIMULACRA2 of the file.

    Attributes:
        cost: against the plain codec, as ln; see `rate_distortion.cost.Cost`.
        eligible: its score is not below the plain codec's a tenth of the quality scale coarser.
    """

    network: str
    size: int
    score: float
    cost: float
    eligible: bool
    preprocessor: Preprocessor | None


@dataclass(frozen=True)
class Selection:
    """Choice of a preprocessor for one picture: the file that is kept, and the wall time of everything.

    Candidates are all that were tried, best first, those that are not eligible last; none where the picture cannot be
    judged.
    """

    encoded: Encoded
    preprocessor: Preprocessor | None
    candidates: tuple[Candidate, ...]
    seconds: float


def select(image: Image, session: Session, preprocessors: Sequence[Preprocessor | None]) -> Selection:
    """Encode a picture with every preprocessor and with none, and keep the file of the lowest cost.

    The cost is ln(bytes) less what the plain codec would pay for the change of SSIMULACRA2, by its own slope on this
    picture (`rate_distortion.cost`). By that measure the file kept is never worse than the plain codec's. Nor does it
    score lower than the plain codec would a tenth of its scale coarser: a slope says nothing about pictures that are
    much worse, and the quality that was asked for is to be there. Of equals the plain codec's is taken, then the
    first. A picture that is too small for SSIMULACRA2 gets the codec's default
    preprocessor, if it is among them, or else none, and a note.

    The picture is as the codec can hold it, the session for it. None, for no preprocessor, is tried in any case.

    Raises:
        ProgramError: the encoder failed.
    """
    start = time.perf_counter()
    try:
        cost_of = RateDistortionCost(image, session, {METRIC: 1.0})
    except UnsupportedError:
        return _default(image, session, preprocessors, start)
    best = cost_of.plain
    candidates = [Candidate(NONE, len(best.data), cost_of.scores[METRIC], 0.0, True, None)]
    for preprocessor in preprocessors:
        if preprocessor is None:
            continue
        encoded = session.encode(*preprocessed(image, preprocessor, session.setting))
        found = cost_of(encoded.data)
        score = found.scores[METRIC]
        eligible = cost_of.floor is None or score >= cost_of.floor[METRIC]
        if eligible and found.cost < min(each.cost for each in candidates if each.eligible):
            best = encoded
        candidates.append(Candidate(preprocessor.name, found.size, score, found.cost, eligible, preprocessor))
    candidates.sort(key=lambda each: (not each.eligible, each.cost))  # stable: of equals the first stays before
    return Selection(best, candidates[0].preprocessor, tuple(candidates), time.perf_counter() - start)


def _default(image: Image, session: Session, preprocessors: Sequence[Preprocessor | None], start: float) -> Selection:
    network = default_network(session.codec.name, session.backend.name)
    preprocessor = next((each for each in preprocessors if each and each.network == network), None)
    encoded = session.encode(*preprocessed(image, preprocessor, session.setting))
    note = f"too small for SSIMULACRA2, by which --network auto chooses: {encoded.network} was taken"
    return Selection(replace(encoded, notes=(*encoded.notes, note)), preprocessor, (), time.perf_counter() - start)
