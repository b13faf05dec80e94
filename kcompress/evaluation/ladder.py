"""``--quality auto``: a ladder of qualities that spans bad to very good on the data set at hand."""

import contextlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from kcompress.codecs import Codec, Scale, decode
from kcompress.dataset import DataSet
from kcompress.encoding import Session
from kcompress.errors import InputError
from kcompress.evaluation.peers import Peer
from kcompress.evaluation.sweep import original
from kcompress.images import Image
from kcompress.metrics import Scorer
from kcompress.workers import one_thread

LOWEST, HIGHEST = 30.0, 90.0
"""SSIMULACRA2 of the ends: from low quality to visually lossless."""

STEPS = 7
SAMPLE = 4
"""Pictures looked at, evenly spread over the data set."""


def ladder(dataset: DataSet, pictures: Sequence[str], codec: Codec, backend: str = "auto") -> tuple[int, ...]:
    """Qualities of a codec by a backend, worst first, whose mean SSIMULACRA2 runs from about 30 to about 90."""
    one_thread()
    return _spread((LOWEST, HIGHEST), STEPS, codec.quality, _scores(_sample(dataset, pictures, codec, backend)))


def peer_ladders(
    dataset: DataSet, pictures: Sequence[str], codec: Codec, qualities: Sequence[int], peers: Sequence[Peer],
    backend: str = "auto",
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Qualities of peers by name, as many as the codec's, whose mean SSIMULACRA2 spans the same range."""
    one_thread()
    sample = _sample(dataset, pictures, codec, backend)
    coarsest, finest = (pick(qualities, key=codec.quality.coarseness) for pick in (max, min))
    found = {}
    for peer in peers:
        taken = [each for each in sample if peer.takes(each[0])]
        if taken:
            plain = _scores(taken)
            ends = plain(coarsest), plain(finest)
            found[peer.name] = _spread(ends, len(qualities), peer.scale, _peer_scores(peer, taken))
    return found


def _spread(ends: tuple[float, float], steps: int, scale: Scale, score: Callable[[int], float]) -> tuple[int, ...]:
    """Evenly spread qualities between those that reach two scores."""
    worst, best = (_quality_for(target, scale, score) for target in ends)
    return tuple(dict.fromkeys(round(float(q)) for q in np.linspace(worst, best, steps)))


def _scores(sample: Sequence[tuple[Image, Session, Scorer]]) -> Callable[[int], float]:
    """Mean SSIMULACRA2 of the plain codec at a quality."""

    @cache  # both ends begin their search in the middle
    def score(quality: int) -> float:
        found = [scorer(session.at(quality).reconstruction(image)) for image, session, scorer in sample]
        return float(np.mean([scores["ssimulacra2"] for scores in found]))

    return score


def _peer_scores(peer: Peer, sample: Sequence[tuple[Image, Session, Scorer]]) -> Callable[[int], float]:
    """Mean SSIMULACRA2 of a peer at a quality."""

    @cache
    def score(quality: int) -> float:
        found = [scorer(decode(peer.encode(image, quality)).pixels) for image, _, scorer in sample]
        return float(np.mean([scores["ssimulacra2"] for scores in found]))

    return score


def _sample(
    dataset: DataSet, pictures: Sequence[str], codec: Codec, backend: str
) -> list[tuple[Image, Session, Scorer]]:
    """Pictures spread over the data set, with others in place of those that cannot be used.

    Raises:
        InputError: none can be used.
    """
    spread = sorted({round(x) for x in np.linspace(0, len(pictures) - 1, SAMPLE)})
    found: list[tuple[Image, Session, Scorer]] = []
    for name in [*(pictures[i] for i in spread), *(name for i, name in enumerate(pictures) if i not in spread)]:
        if len(found) == SAMPLE:
            break
        with contextlib.suppress(Exception):  # the measuring itself reports it
            image, session = Session.of(original(dataset.read(name), name), codec, codec.setting(), backend)
            found.append((image, session, Scorer(image.pixels, ("ssimulacra2",))))
    if not found:
        raise InputError(
            f"no picture in {dataset.location} can be used for {codec.name}. Give --quality numbers to see why."
        )
    return found


def _quality_for(target: float, scale: Scale, score: Callable[[int], float]) -> int:
    """The coarsest quality that reaches a score, by bisection; the finest there is if none does."""
    steps = scale.up_to(scale.finest)
    return steps[bisect_left(steps, target, 0, len(steps) - 1, key=score)]
