"""Plan of a labelling: everything that a worker has to know."""

from dataclasses import dataclass, field
from functools import lru_cache

from kcompress.codecs import CODECS, Backend, Codec
from kcompress.dataset import DataSet
from kcompress.errors import UsageError
from kcompress.metrics import METRICS
from kcompress.patches import Patches
from kcompress.pool import FilterContext, Group, filter_named, groups
from kcompress.setting import Setting

STAGES = ("filtered", "decoded")


@dataclass(frozen=True)
class Plan:
    """One run of labelling.

    Attributes:
        quality: on the codec's own scale.
        pool: filters as the user typed them.
        longest: filters in a group, at most.
        ordered: whether the order of filters makes another group.
        metrics: names; the first one decides, the others are only recorded.
        backend: encoder, or ``auto``.
        patches: grid of patches, or None for whole pictures.
        stage: picture that is the label: ``filtered``, the codec's input, or ``decoded``, its output.
        rate_weight: weight of bits against quality in the score; -1 is the paper as printed.
    """

    dataset: DataSet
    codec: str
    quality: int
    pool: tuple[str, ...]
    longest: int = 2
    ordered: bool = False
    metrics: tuple[str, ...] = ("vqscore", "ssimulacra2")
    backend: str = "auto"
    patches: Patches | None = None
    stage: str = "filtered"
    rate_weight: float = 1
    context: FilterContext = field(default_factory=FilterContext)

    @property
    def groups(self) -> list[Group]:
        """All groups, the identity first."""
        return _groups(self.pool, self.longest, self.ordered, self.context)

    @property
    def chosen_codec(self) -> Codec:
        """Codec of this name."""
        return CODECS[self.codec]

    @property
    def setting(self) -> Setting:
        """Setting of every encode."""
        return self.chosen_codec.setting(self.quality, effort=self.chosen_codec.plain_effort)

    @property
    def metric(self) -> str:
        """Name of the metric that decides."""
        return self.metrics[0]

    def encoder(self) -> Backend:
        """The backend that takes ordinary pictures."""
        return self.chosen_codec.backend(self.backend)

    def check(self) -> None:
        """Refuse an impossible plan before the first picture.

        Raises:
            KcompressError: a codec, quality, filter, metric or patch is not possible.
        """
        self.encoder()
        assert self.setting and self.groups  # both check what they are made of
        if self.stage not in STAGES:
            raise UsageError(f"--label-stage {self.stage} is not known. Allowed: {', '.join(STAGES)}.")
        if self.patches is None:
            return
        if min(self.patches.width, self.patches.height, self.patches.stride) < 1:
            raise UsageError(f"--patch {self.patches} --stride {self.patches.stride}: allowed are 1 pixel and more.")
        for metric in self.metrics:
            smallest = METRICS[metric].smallest_side
            if min(self.patches.width, self.patches.height) < smallest:
                raise UsageError(
                    f"--patch {self.patches}: {metric} needs {smallest} pixels a side. Take larger patches."
                )


@lru_cache(maxsize=4)
def _groups(pool: tuple[str, ...], longest: int, ordered: bool, context: FilterContext) -> list[Group]:
    return groups([filter_named(name, context) for name in pool], longest, ordered=ordered)
