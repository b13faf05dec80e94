"""The training of a proxy, whatever its networks: patches that the real encoder has coded, and how near it comes."""

from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from kcompress.training.loop import Prepared
from kcompress.training.photographs import Lessons, PhotoTraining, Shipping
from kcompress.training.publishing import encoder
from kcompress.training.simulator.accuracy import FIGURES, accuracy
from kcompress.training.simulator.pairs import PLACE, Pairs, batches, encoded

OF_A_JUDGED_PICTURE = 4
"""Patches."""


@dataclass
class ProxyTraining(PhotoTraining):
    """Patches that are encoded once are kept beside the checkpoints."""

    @abstractmethod
    def heading(self) -> str:
        """Of the plot."""

    @abstractmethod
    def built(self) -> nn.Module:
        """The proxy, with random weights."""

    @abstractmethod
    def arguments(self) -> Mapping[str, Any]:
        """That it is built with."""

    @abstractmethod
    def described(self) -> Mapping[str, str]:
        """Summary, network and loss, for the card."""

    def tasks(self, pairs: Pairs, first: int) -> Iterator[Any]:
        """What the steps see; endless, from a number on."""
        return batches(pairs, self.recipe, first)

    def lessons(self, kept: list[str], judged: list[str]) -> Generator[Prepared, None, Lessons]:
        pairs = yield from self._pairs(kept, -(-self.recipe.patches // len(kept)))
        unseen = yield from self._pairs(judged, OF_A_JUDGED_PICTURE)
        return Lessons(
            lambda first: self.tasks(pairs, first),
            lambda proxy: accuracy(proxy, unseen, self.recipe.codec),
            list(FIGURES), self.heading(), ("psnr_gain_db", "bpp_error_percent"), "of what it shows and counts",
        )  # fmt: skip

    def worth(self, figures: Mapping[str, float]) -> float:
        """In nepers, as the loss of a simulator counts."""
        pixels = -figures["psnr_to_the_decoder_db"] / 10
        return pixels + figures["bpp_error_percent"] / 100 + 2 * figures["ln_bpp_difference_error"]

    def shipping(self, figures: Mapping[str, float]) -> Shipping:
        about, codec = self.described(), self.recipe.codec
        return Shipping(
            self.built(),
            self.arguments(),
            {"summary": about["summary"], "network": about["network"], "codec": codec, "encoder": encoder(codec)},
            {"loss": about["loss"]},
            {"on_held_out_patches": {name: round(value, 4) for name, value in figures.items()}},
            graph=False,
        )

    def _pairs(self, names: list[str], each: int) -> Generator[Prepared, None, Pairs]:
        return encoded(self.photos, names, each, self.recipe, self.folder / PLACE, self.jobs)
