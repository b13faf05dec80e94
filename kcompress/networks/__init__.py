"""The preprocessors by name."""

from dataclasses import dataclass

from kcompress.networks.preprocessor import Preprocessor

__all__ = ["DEFAULTS", "NETWORKS", "NONE", "Network", "Preprocessor", "default_network"]

NONE = "none"
DEFAULTS = {"jpeg": "rdo", "webp": "feedback", "hevc": "feedback", "bpg": "feedback", "avif": "none"}
"""Taken by codec unless another is asked for: what measured best, see weights/README.md."""

_UNAIDED = ("jpegli",)
"""Encoders before which no network gains, as they do its work themselves."""


def default_network(codec: str, backend: str = "auto") -> str:
    """Name of the network that ``encode`` takes before an encoder, by the name of its backend."""
    return NONE if backend in _UNAIDED else DEFAULTS[codec]


@dataclass(frozen=True)
class Network:
    """One kind of preprocessor, with one line about it for people.

    Attributes:
        learned: whether it needs weights.
        halo: pixels around a tile that its output can depend on, rounded up to a multiple of ``multiple``.
        halo_per_block: likewise, what each block of its depth adds.
        multiple: its input sizes are multiples of it.
        conditioned: whether it is told the codec's setting.
        bound: whether its weights serve one codec alone.
        closed: whether it watches the encoder: a closed loop, which encodes and decodes before the encode that counts.
        task: whether it serves a machine's task instead of eyes; its weights are chosen by it.
        banded: whether bands of a picture go through it side by side, on a thread each.
        tabled: whether learned quantisation tables go with it.
        told_tables: whether it is told the quantisation tables, not the coarseness alone.
        overview: whether it is shown a mosaic of the whole picture beside each tile.
        named: whether it is taken only where it is asked for by name: by what `auto` measures, others gain more.
        strength: share of its change that serves best, 0..1, where the recipe of its weights tells none.
    """

    name: str
    about: str
    learned: bool = False
    halo: int = 0
    halo_per_block: int = 0
    multiple: int = 1
    conditioned: bool = False
    bound: bool = False
    closed: bool = False
    task: bool = False
    banded: bool = False
    tabled: bool = False
    told_tables: bool = False
    overview: bool = False
    named: bool = False
    strength: float = 1.0


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network(NONE, "the plain codec"),
        Network("shrink", "soft threshold in the block DCT, in proportion to the quantiser; no weights"),
        # The U-Net reaches 45 pixels far (a test measures it). At half of its change both scores are higher.
        Network(
            "kuchen", "U-Net that imitates the best filter of a pool",
            learned=True, halo=48, multiple=8, strength=0.5,
        ),
        # It reaches 35 pixels (a test measures it).
        Network(
            "blend", "mixes a bank of filters by weights that it predicts for each pixel",
            learned=True, halo=40, multiple=8, conditioned=True, tabled=True, overview=True, named=True,
        ),
        # Each of its blocks reaches one MCU.
        Network(
            "rdo", "decides which of JPEG's coefficients are worth their bits",
            learned=True, halo_per_block=16, multiple=16, conditioned=True, bound=True, banded=True, tabled=True,
            told_tables=True,
        ),
        # Its pyramid reaches 26 pixels (a test measures it).
        Network(
            "feedback", "watches what the encoder makes of the picture, and hands it more or less of each scale",
            learned=True, halo=32, multiple=16, conditioned=True, bound=True, closed=True,
        ),
        # Each of its blocks reaches one MCU.
        Network(
            "artefacts", "changes the picture so that what the decoder shows has the least distortion for its bits",
            learned=True, halo_per_block=16, multiple=16, conditioned=True, bound=True,
        ),
        # It reaches 52 pixels.
        Network(
            "npp", "keeps what a machine needs of a picture, and drops the rest",
            learned=True, halo=56, multiple=8, conditioned=True, task=True,
        ),
    )
}  # fmt: skip
