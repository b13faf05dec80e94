"""Groups: filters in series, the candidates of labelling (Kuchen paper, section 3.2, equation 1), and of a bench."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from kcompress.errors import UsageError
from kcompress.images import Image
from kcompress.pool.filters import Filter, FilterContext, filter_named
from kcompress.setting import Setting

IDENTITY = "identity"
"""Name of the group without a filter."""


@dataclass(frozen=True)
class Group:
    """Filters in order of application, none for the identity; a preprocessor that no setting changes."""

    filters: tuple[Filter, ...]
    conditioned: bool = False
    strength: float = 1.0

    @property
    def name(self) -> str:
        """Name: ``identity``, ``ar``, ``ar+nlm:h=5``."""
        return "+".join(filter.name for filter in self.filters) or IDENTITY

    @property
    def network(self) -> str:
        """Kinds of its filters: ``ar+nlm``."""
        return "+".join(filter.kind.name for filter in self.filters)

    def __call__(self, image: Image, setting: Setting) -> Image:
        """Apply the filters, whatever the setting; what is grey stays grey."""
        for filter in self.filters:
            image = image.with_pixels(filter.apply(image.pixels))
        return image

    @property
    def prefix(self) -> "Group":
        """Group of all filters but the last."""
        return Group(self.filters[:-1])


def group_named(text: str, context: FilterContext | None = None) -> Group:
    """Group of the user's text: ``nlm:h=10``, ``ar+detail``.

    Raises:
        UsageError: no such filter or parameter, or a number out of range.
    """
    return Group(tuple(filter_named(name, context) for name in text.split("+")))


def groups(filters: Sequence[Filter], longest: int, *, ordered: bool = False) -> list[Group]:
    """All groups of at most ``longest`` ("K") filters of a pool, the identity first, shorter ones before longer ones.

    With ``ordered`` every order of the same filters is a group of its own (equation 1: k-permutations). Otherwise they
    stand in the order of the pool, for the paper "ignores the effects of the sequence".

    Raises:
        UsageError: ``longest`` is less than 1, no filter, or the same filter twice.
    """
    names = [filter.name for filter in filters]
    if longest < 1:
        raise UsageError(f"--max-group {longest} leaves no filter. Allowed: 1 and more.")
    if not filters:
        raise UsageError("--pool is empty. Name at least one filter.")
    if len({filter.work for filter in filters}) < len(names):
        raise UsageError(f"--pool {','.join(names)} names a filter twice. Name each once, or with other numbers.")
    arrangements = permutations if ordered else combinations
    chosen = [
        Group(members)
        for length in range(1, min(longest, len(filters)) + 1)
        for members in arrangements(filters, length)
    ]
    return [Group(()), *chosen]
