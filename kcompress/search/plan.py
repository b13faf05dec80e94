"""Plan of the encodes of all pictures, and the result of one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kcompress.codecs import CODECS, Codec
from kcompress.codecs.quantisation import QuantisationTables
from kcompress.encoding import Encoded, round_trip
from kcompress.errors import UsageError
from kcompress.images import Metadata, Resize
from kcompress.inference.engine import resolve_device
from kcompress.networks import NETWORKS, NONE, Preprocessor
from kcompress.networks.loading import load, serving
from kcompress.networks.tables import with_tables
from kcompress.search.refinement import Refinement, decides_on_levels
from kcompress.search.selection import Selection
from kcompress.search.target import Target
from kcompress.setting import Setting

MIN_SAVING = 0.02
"""Default of the bytes that must be saved, as a share."""

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
        device: where it is refined.
        target: size or score that decides on the quality, in place of the setting's.
        finer_chroma: whether 4:4:4 or sharp chroma may be taken where 4:2:0 cannot hold a target.
        resize: of pictures before anything else.
        min_saving: share of its bytes that an input of the same codec must lose; otherwise it is kept. None keeps none.
        order: that the plan was made of.
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
    device: str = "cpu"
    target: Target | None = None
    finer_chroma: bool = False
    resize: Resize | None = None
    min_saving: float | None = MIN_SAVING
    order: "Order | None" = None

    def at(self, quality: int) -> "EncodePlan":
        """The same at a quality, by the tables of its codec."""
        return replace(self, setting=self.codec.at(self.setting, quality))


@dataclass(frozen=True)
class Rival:
    """A codec's file that was not kept: bytes, its score or size, and whether that holds the target."""

    codec: str
    size: int
    reached: float | None
    holds: bool


@dataclass(frozen=True)
class EncodeResult:
    """A picture that was compressed.

    Attributes:
        encoded: the file.
        length: of the input, bytes.
        selection: how ``auto`` chose.
        refinement: how it was refined.
        target: that was searched for.
        reached: size or score of the file, where there is a target.
        tries: encodes of the search for it.
        kept: ``original``, ``lossless`` or ``near-lossless`` where such a file stands for the one that was planned.
        rivals: files of other codecs, which were larger.
    """

    encoded: Encoded
    length: int
    selection: Selection | None = None
    refinement: Refinement | None = None
    target: Target | None = None
    reached: float | None = None
    tries: int = 0
    kept: str | None = None
    rivals: tuple[Rival, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether there is no target, or it is held."""
        return self.target is None or self.reached is None or self.target.holds(self.reached)

    def noted(self, note: str) -> "EncodeResult":
        """The same with one more note."""
        return replace(self, encoded=replace(self.encoded, notes=(*self.encoded.notes, note)))


@dataclass(frozen=True)
class Order:
    """Arguments of `plan`, which travel from machine to machine; plans do not, as they hold networks.

    Attributes:
        codec: its name.
        options: the named arguments.
    """

    codec: str
    setting: Setting
    network: str
    options: Mapping[str, Any]

    def plan(self) -> EncodePlan:
        """The plan, which remembers the order; raises what `plan` raises."""
        return replace(plan(CODECS[self.codec], self.setting, self.network, **self.options), order=self)

    def anywhere(self) -> "Order":
        """The same order where it does not depend on the folder, the cores and the devices of the machine."""
        weights = self.options.get("weights")
        return replace(self, options={
            **self.options, "device": resolve_device(self.options.get("device", "auto")), "threads": 1,
            "weights": None if weights is None else Path(weights).absolute(),
        })  # fmt: skip


def plan(
    codec: Codec, setting: Setting, network: str, *, device: str = "auto", strength: float | None = None,
    weights: Path | None = None, backend: str = "auto", metadata: Metadata = "icc",
    background: tuple[int, int, int] | None = None, frame: int | None = None, refine: int = 0, threads: int = 1,
    tables: QuantisationTables | None = None, target: Target | None = None, finer_chroma: bool = False,
    resize: Resize | None = None, min_saving: float | None = MIN_SAVING,
) -> EncodePlan:  # fmt: skip
    """Load the networks of a plan; everything that can be refused is refused here.

    Without ``tables``, those that go with the network are taken; without ``strength``, each network's own.

    Raises:
        KcompressError: an unknown or unusable network, device, strength, backend, tables or weights, or nothing to
            refine.
    """
    encoder = codec.backend(backend, setting=setting)
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
        refine, weights if network == "rdo" else None, threads, resolve_device(device) if refine else "cpu", target,
        finer_chroma, resize, min_saving,
    )  # fmt: skip
