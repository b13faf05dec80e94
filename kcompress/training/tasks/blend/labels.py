"""Labels: what every choice of the network is worth on patches of photographs, by the real encoder.

The gain of a choice is the fall of ln(bytes), and the rise of each score at the price that the plain codec pays for it.
Some patches get noise and a fine JPEG first, as cameras publish pictures. What they were before is known, so scores
with reference tell what is gained by taking noise away; otherwise they take every change for a loss.
"""

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from kcompress import storage
from kcompress.codecs import CODECS, decode
from kcompress.dataset import DataSet, digest
from kcompress.encoding import encode
from kcompress.images import Image, Pixels
from kcompress.inference.batches import tensor
from kcompress.inference.weights import is_shipped, open_shipped
from kcompress.metrics import METRICS
from kcompress.networks.blend import CHOICES
from kcompress.networks.filter_bank import FILTERS, FilterBank
from kcompress.networks.mosaic import mosaic
from kcompress.proxies.straight_through import container_bytes
from kcompress.rate_distortion.scoring import LARGEST
from kcompress.rate_distortion.slope import qualities
from kcompress.training.crops import holds, random_crop
from kcompress.training.distortions import through
from kcompress.training.events import Prepared
from kcompress.training.photos import picture, prepared, too_small
from kcompress.training.pointed_kinds import published
from kcompress.training.tasks.blend.recipe import BlendRecipe
from kcompress.workers import one_thread, workers

_PRISTINE = "pristine-"

_GRID = 16
"""Patches lie where the picture has blocks of JPEG with halved chroma, those of its earlier JPEG among them."""

_NEAR = 0.1
"""Standard deviation of coarseness among patches that share a price: ten steps of JPEG's quality."""

_FLAT = 64
"""Bytes beyond the container's that say nothing: a patch of fog or night sky has less, or none."""


@dataclass(frozen=True)
class Labels:
    """Patches and what was measured of them.

    Attributes:
        patches: (N, side, side, 3) uint8.
        originals: what they were before noise, likewise; scores with reference compare with them.
        mosaics: of the pictures they are from, (N, 3, h, w) uint8.
        coarseness: (N, 1).
        rates: ln(bytes), (N, 2 + choices): the plain patch at a coarser and a finer quality, then every choice.
        scores: by metric, (N, 2 + choices), higher is better.
        pristine: by metric without reference, (N, 1): scores of the originals.
    """

    patches: Tensor
    originals: Tensor
    mosaics: Tensor
    coarseness: Tensor
    rates: Tensor
    scores: Mapping[str, Tensor]
    pristine: Mapping[str, Tensor]

    def gains(self, recipe: BlendRecipe) -> Tensor:
        """Gain of every choice in nepers, (N, choices); that of the untouched patch is 0."""
        found = self.rates[:, 2:3] - self.rates[:, 2:]
        for metric, worth in self.worths(recipe).items():
            scores = self.scores[metric]
            found = found + worth * (scores[:, 2:] - scores[:, 2:3])
        return found.clamp(-recipe.limit, recipe.limit)

    def worths(self, recipe: BlendRecipe) -> dict[str, Tensor]:
        """Share of each score on each patch times its price, (N, 1).

        A metric without reference is asked where the original is poor. One with a reference takes every change of it
        for a loss, which is right where it is pristine.
        """
        known = {metric: share for metric, share in recipe.objective.items() if metric not in blind(recipe.objective)}
        shares: dict[str, Tensor | float] = {}
        for metric in blind(recipe.objective):
            poor = (recipe.pristine - self.pristine[metric]) / (recipe.pristine - recipe.poor)
            shares[metric] = recipe.objective[metric] * (poor.clamp(0, 1) if known else 1.0)
        left = 1 - sum(shares.values())
        shares |= {metric: left * share / sum(known.values()) for metric, share in known.items()}
        return {metric: shares[metric] * self.prices(metric) for metric in recipe.objective}

    def prices(self, metric: str) -> Tensor:
        """Prices that the plain codec pays for a score at each patch's quality, ln(bytes) for a unit, (N, 1).

        From the coarser to the finer quality the rise of ln(bytes) over that of the score, each the mean of patches of
        about that quality; at least 0. A fit to each patch would take noise of the scores for cheap quality.
        """
        coarseness = self.coarseness.double()
        near = torch.exp(-((coarseness - coarseness.T) / _NEAR).square() / 2)
        paid, gained = (near @ (part[:, 1:2] - part[:, :1]).double() for part in (self.rates, self.scores[metric]))
        return torch.where(gained > 0, paid / gained, 0.0).clamp(0).float()


def labelled(
    dataset: DataSet, names: Sequence[str], recipe: BlendRecipe, folder: Path, jobs: int
) -> Generator[Prepared, None, Labels]:
    """Cut patches from pictures, as many from one as from another, and measure all choices; the same for any ``jobs``.

    The files of every picture are kept in the folder, and so is each score of them: another score encodes nothing anew.

    Raises:
        InputError: every picture is smaller than a patch.
        ProgramError: the encoder failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng([recipe.seed, 1]).permutation(len(names))
    counts = [recipe.patches // len(names) + int(place < recipe.patches % len(names)) for place in np.argsort(order)]
    tasks = [(dataset, name, count, recipe, folder) for name, count in zip(names, counts, strict=True) if count]
    with workers(jobs) as executor:
        paths = yield from prepared(executor, _measured, tasks, jobs)
    parts = [part for part in map(_read, paths) if len(part["rates"])]
    if not parts:
        raise too_small(dataset, recipe.side)
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    known = {name: whole.pop(name) for name in ("patches", "originals", "mosaics", "coarseness", "rates")}
    pristine = {name.removeprefix(_PRISTINE): whole.pop(name) for name in list(whole) if name.startswith(_PRISTINE)}
    return Labels(**known, scores=whole, pristine=pristine)


def blind(objective: Iterable[str]) -> list[str]:
    """Metrics of an objective that judge without the original."""
    return [metric for metric in objective if not METRICS[metric].reference]


def offered(recipe: BlendRecipe) -> Sequence[Mapping[str, float]]:
    """Choices behind which patches are encoded: all, or the untouched patch alone where the mix itself is judged."""
    return CHOICES if recipe.through == "labels" else CHOICES[:1]


def choices(patch: Pixels, coarseness: float, asked: Sequence[Mapping[str, float]] = CHOICES) -> list[Pixels]:
    """A patch after every choice that is asked for; sides are multiples of 8."""
    image = tensor([patch])
    with torch.no_grad():
        changes = dict(zip(FILTERS, FilterBank()(image, torch.tensor([[coarseness]])), strict=True))
        made = [image + sum(share * changes[name] for name, share in choice.items()) for choice in asked]
    return [(255 * each[0]).permute(1, 2, 0).round().clamp(0, 255).byte().numpy() for each in made]


def _measured(dataset: DataSet, name: str, count: int, recipe: BlendRecipe, folder: Path) -> tuple[Path, ...]:
    """Files of a picture's patches, and of each score of the objective."""
    one_thread()
    coded = _coded(dataset, name, count, recipe, folder)
    judged = [_judged(coded, metric) for metric in blind(recipe.objective)]
    return coded, *(_scored(coded, metric) for metric in recipe.objective), *judged


def _coded(dataset: DataSet, name: str, count: int, recipe: BlendRecipe, folder: Path) -> Path:
    """File of patches of a picture: ``files`` are those of the encoder, one after another."""
    data, codec = dataset.read(name), CODECS[recipe.codec]
    backend = codec.backend("auto")
    asked = offered(recipe)
    path = _file(
        folder, "files", digest(data), recipe.codec, recipe.lowest, recipe.highest, recipe.side, recipe.seed, count,
        recipe.noisy, _GRID, asked, backend.name, backend.version(),
    )  # fmt: skip
    if path.is_file():
        return path
    pixels = picture(dataset, name)
    random = np.random.default_rng([recipe.seed, 2, *digest(data)[:8].encode()])
    noisy = through(pixels, published(random)) if recipe.noisy else pixels
    both, wholes = np.concatenate([pixels, noisy], axis=2), [mosaic(each)[0] for each in (pixels, noisy)]
    patches, originals, mosaics, coarseness, files = [], [], [], [], []
    for _ in range(count if holds(pixels, recipe.side) else 0):
        quality = int(random.integers(recipe.lowest, recipe.highest + 1))
        is_noisy = bool(random.random() < recipe.noisy)
        crop, setting = random_crop(both, recipe.side, random, _GRID), codec.setting(quality)
        original, patch = (np.ascontiguousarray(crop[..., first : first + 3]) for first in (0, 3 * is_noisy))
        around = [(patch, near) for near in qualities(codec.quality, quality, (-1, 1))]
        for pixels_of, at in [*around, *((made, quality) for made in choices(patch, setting.coarseness, asked))]:
            files.append(encode(Image(pixels_of), codec, codec.setting(at), None, backend.name).data)
        patches.append(patch)
        originals.append(original)
        mosaics.append(wholes[is_noisy])
        coarseness.append([setting.coarseness])
    sizes = np.array([len(file) for file in files], np.int64).reshape(len(patches), 2 + len(asked))
    kept: dict[str, NDArray[Any]] = {
        "patches": np.array(patches, np.uint8),
        "originals": np.array(originals, np.uint8),
        "mosaics": np.rint(255 * np.array(mosaics)).astype(np.uint8),
        "coarseness": np.array(coarseness, np.float32),
        "rates": _rates(sizes, container_bytes(codec.setting(recipe.lowest), recipe.side, recipe.side)),
        "sizes": sizes,
        "files": np.frombuffer(b"".join(files), np.uint8),
    }
    return _write(path, kept)


def _rates(sizes: NDArray[np.int64], container: int) -> NDArray[np.float64]:
    """ln(bytes) beyond those of a flat picture; patches that are flat themselves have the same for every choice."""
    rates: NDArray[np.float64] = np.log(np.maximum(sizes - container, _FLAT))
    return rates


def _scored(coded: Path, metric: str) -> Path:
    """File of the scores of coded patches."""
    path = _score_file(coded, metric, metric)
    if path.is_file():
        return path
    kept = load_file(coded)
    files, sizes = kept["files"].numpy().tobytes(), kept["sizes"]
    scores, at = torch.zeros(sizes.shape), 0
    for row, original in enumerate(kept["originals"].numpy()):
        judge = METRICS[metric].scorer(original)
        for column, size in enumerate(sizes[row].tolist()):
            score = METRICS[metric].sign * judge(decode(files[at : at + size]).pixels)
            scores[row, column] = min(score, LARGEST)
            at += size
    return _write(path, {metric: scores.numpy()})


def _judged(coded: Path, metric: str) -> Path:
    """File of the scores of the originals, by a metric without reference."""
    name = _PRISTINE + metric
    path = _score_file(coded, name, metric)
    if path.is_file():
        return path
    scores = [[METRICS[metric].score(patch, patch)] for patch in load_file(coded)["originals"].numpy()]
    return _write(path, {name: np.array(scores, np.float32).reshape(-1, 1)})


def _score_file(coded: Path, kind: str, metric: str) -> Path:
    """The weights of a learned metric decide too."""
    return _file(coded.parent, kind, coded.stem, open_shipped(metric).digest() if is_shipped(metric) else "")


def _file(folder: Path, kind: str, *decides: object) -> Path:
    return folder / f"{kind}-{hashlib.sha256(repr(decides).encode()).hexdigest()[:24]}.safetensors"


def _write(path: Path, values: Mapping[str, NDArray[Any]]) -> Path:
    storage.write(str(path), serialised({name: torch.from_numpy(value.copy()) for name, value in values.items()}))
    return path


def _read(paths: Sequence[Path]) -> dict[str, Tensor]:
    """All values of a picture but the files."""
    return {
        name: value.float() if name == "rates" else value
        for path in paths
        for name, value in load_file(path).items()
        if name not in ("files", "sizes")
    }
