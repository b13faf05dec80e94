"""The codec whose file is smallest at the quality that is asked for."""

from collections.abc import Sequence
from dataclasses import replace

from kcompress.search.plan import EncodeResult, Rival
from kcompress.search.target import Target


def best_codec(results: Sequence[EncodeResult], target: Target) -> EncodeResult:
    """The smallest file of those that hold the target; where none does, the one nearest to it. Of equals the first.

    A file that has no score, as the picture is too small, counts as one that holds it.
    """

    def order(result: EncodeResult) -> tuple[bool, float]:
        if result.holds or result.reached is None:
            return False, len(result.encoded.data)
        return True, abs(target.excess(result.reached))

    first, *others = sorted(results, key=order)
    return replace(first, rivals=tuple(
        Rival(each.encoded.setting.codec, len(each.encoded.data), each.reached, each.holds) for each in others
    ))  # fmt: skip
