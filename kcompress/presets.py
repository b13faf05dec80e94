"""Presets: how much time a file is worth, as one word for all codecs. Nothing heavy is imported here."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from kcompress.errors import UsageError


class PresetName(StrEnum):
    """Values of ``--preset``."""

    fast = "fast"
    default = "default"
    best = "best"


@dataclass(frozen=True)
class Preset:
    """Network, effort and steps of refinement before and of one codec; None leaves the codec's default."""

    network: str | None = None
    effort: int | None = None
    refine: int | None = None

    def __str__(self) -> str:
        values = {"": self.network, "effort ": self.effort, "refine ": self.refine}
        return " and ".join(f"{name}{value}" for name, value in values.items() if value is not None)


class Choice(NamedTuple):
    """Network, effort (None for the codec's default) and steps of refinement that are taken."""

    network: str
    effort: int | None
    refine: int


PRESETS: dict[str, dict[str, Preset]] = {
    PresetName.fast: {
        "jpeg": Preset(effort=1),  # rdo takes half of the time, and stays, as it saves 17 %
        "webp": Preset("none", 5),
        "hevc": Preset("none", 2),  # x265's presets 2 to 4 write the same pictures
        "bpg": Preset("none", 2),
        "avif": Preset("none", 3),
    },
    PresetName.default: {},
    PresetName.best: {
        "jpeg": Preset(refine=60),
        "webp": Preset(refine=8),
        "hevc": Preset(refine=8),  # x265's presets 7 to 9 gain nothing
        "bpg": Preset(refine=8),
        "avif": Preset(effort=6),  # feedback gains nothing here, and more effort costs many times the time
    },
}
"""By name and codec; a codec that is left out has its defaults. What pays for its time: tests/benchmarks/README.md."""


def resolved(
    name: str, codec: str, backend: str, network: str | None, effort: int | None, refine: int | None
) -> Choice:
    """The choice of a preset before a codec and its encoder, by the name of the backend; what is given goes before.

    Without a network a preset refines nothing.

    Raises:
        UsageError: no preset has this name.
    """
    from kcompress.networks import NONE, default_network

    if name not in PRESETS:
        raise UsageError(f"--preset {name} is not known. Allowed: {', '.join(PRESETS)}.")
    preset = PRESETS[name].get(codec, Preset())
    network = network or preset.network or default_network(codec, backend)
    if refine is None:
        refine = 0 if network == NONE else preset.refine
    return Choice(network, preset.effort if effort is None else effort, refine or 0)
