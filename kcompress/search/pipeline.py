"""The whole way of one picture: read, preprocess, choose, refine, encode."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kcompress.codecs import Codec
from kcompress.codecs.quantisation import QuantisationTables
from kcompress.encoding import Encoded, Session, encode, preprocessed, round_trip
from kcompress.errors import UsageError
from kcompress.images import Image, Metadata, read
from kcompress.networks import NETWORKS, NONE, Preprocessor
from kcompress.networks.loading import load, serving
from kcompress.networks.tables import with_tables
from kcompress.search.refinement import Progress, Refinement, decides_on_levels, refinable, refined
from kcompress.search.selection import Selection, select
from kcompress.setting import Setting
from kcompress.workers import drained

AUTO = "auto"
"""The network that measures best on each picture."""


@dataclass(frozen=True)
class EncodePlan:
    """Plan of the encodes of all pictures, with the setting as it was asked for.

    Attributes:
        preprocessors: the one to use, or with ``auto`` those to try.
        background: colour to lay transparency over.
        frame: of an animation or of several pages.
        auto: whether the preprocessor that measures best is taken.
        refine: steps of refinement; 0 for none.
        weights: of ``rdo``, where refined levels start, in place of those that came along.
        threads: for one picture.
    """

    codec: Codec
    setting: Setting
    preprocessors: tuple[Preprocessor | None, ...] = (None,)
    backend: str = "auto"
    metadata: Metadata = "icc"
    background: tuple[int, int, int] | None = None
    frame: int | None = None
    auto: bool = False
    refine: int = 0
    weights: Path | None = None
    threads: int = 1


@dataclass(frozen=True)
class EncodeResult:
    """A picture that was compressed, the length of its input in bytes, how ``auto`` chose, and how it was refined."""

    encoded: Encoded
    length: int
    selection: Selection | None = None
    refinement: Refinement | None = None


def plan(
    codec: Codec, setting: Setting, network: str, *, device: str = "auto", strength: float = 1.0,
    weights: Path | None = None, backend: str = "auto", metadata: Metadata = "icc",
    background: tuple[int, int, int] | None = None, frame: int | None = None, refine: int = 0, threads: int = 1,
    tables: QuantisationTables | None = None,
) -> EncodePlan:  # fmt: skip
    """Load the networks of a plan; everything that can be refused is refused here.

    Without ``tables``, those that go with the network are taken.

    Raises:
        KcompressError: an unknown or unusable network, device, strength, backend, tables or weights, or nothing to
            refine.
    """
    encoder = codec.backend(backend)
    if network not in (*NETWORKS, AUTO):
        raise UsageError(f"--network {network} is not known. Allowed: {', '.join(NETWORKS)}, {AUTO}.")
    if network == AUTO and weights is not None:
        raise UsageError(
            f"--weights {weights}: --network auto tries the weights that came along. Leave one of the two out."
        )
    if refine and network == NONE and not decides_on_levels(setting):
        raise UsageError(
            f"--refine {refine}: without a network there is nothing to refine before {encoder.name}, {setting.codec} "
            f"{setting.chroma}. Give a --network, or leave --refine out."
        )
    names = serving(codec.name) if network == AUTO else (network,)
    codec = with_tables(codec, tables, names, encoder)
    loop = round_trip(codec, backend)
    preprocessors = tuple(
        load(name, device=device, strength=strength, weights=weights, codec=codec.name, round_trip=loop,
             threads=threads)
        for name in names
    )  # fmt: skip
    return EncodePlan(
        codec, codec.at(setting, setting.quality), preprocessors, backend, metadata, background, frame, network == AUTO,
        refine, weights if network == "rdo" else None, threads,
    )  # fmt: skip


def run(plan: EncodePlan, data: bytes, name: str, tell: Callable[[Progress], None] | None = None) -> EncodeResult:
    """Compress one picture file, whose name is for people; ``tell`` is told how far its refinement is.

    Raises:
        InputError: the picture cannot be read.
        UnsupportedError: the codec cannot hold it.
        ProgramError: the encoder failed.
    """
    if not (plan.auto or plan.refine):
        # Handed on without a name: nothing here keeps the pixels when the preprocessor has made new ones.
        (preprocessor,) = plan.preprocessors
        return EncodeResult(
            encode(_picture(plan, data, name), plan.codec, plan.setting, preprocessor, plan.backend), len(data)
        )
    image, session = Session.of(_picture(plan, data, name), plan.codec, plan.setting, plan.backend)
    selection = None
    if plan.auto:
        selection = select(image, session, plan.preprocessors)
        encoded, preprocessor = selection.encoded, refinable(selection, plan.setting)
    else:
        (preprocessor,) = plan.preprocessors
        encoded = session.encode(*preprocessed(image, preprocessor, session.setting))
    if not plan.refine:
        return EncodeResult(encoded, len(data), selection)
    steps = refined(
        image, session, preprocessor, encoded, steps=plan.refine, weights=plan.weights, threads=plan.threads
    )
    encoded, refinement = drained(steps, tell)
    return EncodeResult(encoded, len(data), selection, refinement)


def _picture(plan: EncodePlan, data: bytes, name: str) -> Image:
    return read(
        data, name=name, frame=plan.frame, background=plan.background, check_sides=plan.codec.check_sides,
        metadata=plan.metadata,
    )  # fmt: skip
