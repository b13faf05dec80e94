"""From a folder of photographs to the gains of the feedback network."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from kcompress.codecs import CODECS
from kcompress.encoding import Session
from kcompress.errors import InputError
from kcompress.images import Image, Pixels, read_canonical
from kcompress.metrics import METRICS
from kcompress.networks.feedback import GAINS, Feedback
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.training import validation
from kcompress.training.feedback.recipe import FeedbackRecipe
from kcompress.training.feedback.trials import NETWORK, Costs, Patch, Trial, closed_loop, trained
from kcompress.training.loop import Prepared
from kcompress.training.photographs import Lessons, PhotoTraining, Shipping
from kcompress.training.publishing import encoder
from kcompress.workers import one_thread

_BESIDE = ("butteraugli", "psnr")
"""Metrics that are shown beside those of the objective."""


@dataclass
class FeedbackTraining(PhotoTraining):
    """Of clean photographs."""

    recipe: FeedbackRecipe

    def fresh(self) -> Costs:
        return Costs(Feedback(), self.recipe, self.jobs)

    def network(self, model: Costs) -> Feedback:
        return model.network

    def lessons(self, kept: list[str], judged: list[str]) -> Generator[Prepared, None, Lessons]:
        one_thread()  # trials run side by side
        patches: list[Patch] = []
        learned = set()
        pool = ThreadPoolExecutor(self.jobs)
        try:
            drawn = self._drawn(kept)
            for number, found in enumerate(pool.map(self._patch, range(len(drawn)), drawn)):
                if found is not None:
                    patches.append(found)
                    learned.add(drawn[number])
                yield Prepared(number + 1, len(drawn))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C nobody wants the rest
        self.trained_on = len(learned)
        if not patches:
            raise InputError(
                f"{self.photos.location} has no picture of {self.recipe.side} pixels a side. "
                "Give larger ones, or a smaller --patch."
            )
        judge = self._judge(judged)
        return Lessons(
            lambda first: self._trials(patches, first), lambda network: judge(closed_loop(network, self.recipe)),
            judge.names, judge.heading,
        )  # fmt: skip

    def worth(self, figures: Mapping[str, float | None]) -> float:
        return validation.worth(figures, self.recipe.objective)

    def shipping(self, figures: Mapping[str, float]) -> Shipping:
        recipe = self.recipe
        return Shipping(
            Feedback(),
            {},
            {
                "summary": f"watches what {recipe.codec} makes of the picture, and hands it more or less of each scale",
                "network": NETWORK,
                "codec": recipe.codec,
                "encoder": encoder(recipe.codec),
            },
            {**trained(recipe).to_recipe(), "loss": "ln(bytes) - slope * score"},
            {"against_the_plain_codec": figures},
            multiple=16,
            more=(torch.zeros(1, 1),),
            channels=6,
        )

    def _drawn(self, names: Sequence[str]) -> list[str]:
        """The picture of each patch."""
        order = np.random.default_rng([self.recipe.seed, 1]).permutation(len(names))
        return [names[order[number % len(names)]] for number in range(self.recipe.patches)]

    def _patch(self, number: int, name: str) -> Patch | None:
        """One with its judge; None where the picture is smaller."""
        recipe = self.recipe
        picture = read_canonical(self.photos.read(name), name).pixels
        room = [length - recipe.side for length in picture.shape[:2]]
        if min(room) < 0:
            return None
        random = np.random.default_rng([recipe.seed, 2, number])
        top, left = (int(random.integers(length + 1)) for length in room)
        image = Image(np.ascontiguousarray(picture[top : top + recipe.side, left : left + recipe.side]))
        codec = CODECS[recipe.codec]
        setting = codec.setting(int(random.integers(recipe.lowest, recipe.highest + 1)))
        return Patch(image, setting, RateDistortionCost(*Session.of(image, codec, setting), recipe.objective))

    def _trials(self, patches: Sequence[Patch], first: int) -> Iterator[Trial]:
        """Endless, from number ``first`` on; a trial follows from its number alone."""
        number = first
        while True:
            random = np.random.default_rng([self.recipe.seed, 3, number])
            chosen = random.choice(len(patches), self.recipe.batch, replace=self.recipe.batch > len(patches))
            signs = random.choice([-1.0, 1.0], (self.recipe.batch, 3 * GAINS))
            yield Trial([patches[each] for each in chosen], torch.from_numpy(signs).float())
            number += 1

    def _judge(self, names: Sequence[str]) -> validation.Judge:
        pictures: list[Pixels] = [read_canonical(self.photos.read(name), name).pixels for name in names]
        known = [name for name in (*self.recipe.objective, *_BESIDE) if METRICS[name].available()]
        codec = self.recipe.codec
        return validation.Judge(codec, CODECS[codec].quality.default, known, pictures)
