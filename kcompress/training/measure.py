"""Figures of the models that ship, on pictures they were not trained on; they go into their cards.

``python -m kcompress.training.measure ar PICTURES``, ``... vqscore PICTURES``, ``... simulator PICTURES --codec webp``.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from kcompress.dataset import DataSet
from kcompress.images import Pixels, read_canonical
from kcompress.inference import weights as weight_files
from kcompress.metrics.psnr import psnr
from kcompress.pool import filter_named
from kcompress.proxies.choice import KINDS as KINDS_OF_PROXY
from kcompress.proxies.choice import load_proxy
from kcompress.rate_distortion.bootstrap import mean_interval
from kcompress.training.crops import middle
from kcompress.training.distortions import Distortion, compression, through
from kcompress.training.export import described
from kcompress.training.judges import Judges
from kcompress.training.measure_quality import Rated, figures, rated
from kcompress.training.tasks.proxies.accuracy import accuracy, exact_jpeg
from kcompress.training.tasks.proxies.coded_patches import encoded
from kcompress.training.tasks.proxies.recipe import RANGES, SimulatorRecipe
from kcompress.workers import ahead, drained, ordered, workers

app = typer.Typer(add_completion=False)
Pictures = Annotated[Path, typer.Argument(help="Folder of lossless pictures.")]
About = Annotated[str, typer.Option("--data", help="What the pictures are, for the card.")]

RESTORED: dict[str, tuple[Distortion, ...]] = {
    **{f"jpeg q={quality}": (compression("jpeg", quality),) for quality in (10, 20, 30, 50, 75, 90, 95)},
    **{f"webp q={quality}": (compression("webp", quality),) for quality in (40, 75)},
    **{f"hevc q={quality}": (compression("hevc", quality),) for quality in (36, 28)},
    "jpeg q=75, then jpeg q=50": (compression("jpeg", 75), compression("jpeg", 50)),
    "webp q=50, then jpeg q=75": (compression("webp", 50), compression("jpeg", 75)),
}
"""Distortions that ``ar`` has to undo."""


def pixels(path: Path) -> Pixels:
    """Pixels of a picture as they are measured."""
    return read_canonical(path.read_bytes(), str(path)).pixels


def gains(path: Path) -> dict[str, float]:
    """PSNR that ``ar`` gains over its input, dB, for one picture."""
    clean, restore = pixels(path), filter_named("ar")
    found = {}
    for name, steps in RESTORED.items():
        compressed = through(clean, list(steps))
        found[name] = psnr(clean, restore.apply(compressed)) - psnr(clean, compressed)
    return found


def scored(path: Path, side: int | None, seed: int, judges: Sequence[str]) -> Rated:
    """Rate one picture, or its middle, in all versions."""
    clean = pixels(path)
    return rated(middle(clean, side) if side else clean, [seed, *path.name.encode()], judges)


def interval(values: Sequence[float]) -> list[float]:
    """95 % bootstrap interval of the mean over pictures."""
    return [round(bound, 3) for bound in mean_interval(values)]


def _each(work: Callable[[Path], Any], pictures: Path, jobs: int) -> Iterator[Any]:
    paths = sorted(pictures.glob("*.png"))
    if not paths:
        raise typer.BadParameter(f"{pictures} holds no PNG pictures")
    with workers(jobs) as executor:
        yield from ordered(executor, work, ((path,) for path in paths), ahead(jobs))


def _note(name: str, figures: dict[str, Any]) -> None:
    """Put the figures into the card, and show them."""
    path = weight_files.folder() / f"{name}.json"
    card = json.loads(path.read_text())
    card["measured"] = figures
    path.write_text(json.dumps(card, indent=2) + "\n")
    Console(stderr=True).print_json(data=figures)


@app.command("ar")
def artifacts(pictures: Pictures, data: About = "", jobs: int = 2) -> None:
    """Gain of artifact removal over its input."""
    each = list(_each(gains, pictures, jobs))
    _note("ar", {
        "pictures": described(f"{len(each)} whole lossless pictures", data),
        "psnr_gain_db": {
            name: {
                "mean": round(float(np.mean([one[name] for one in each])), 3),
                "interval": interval([one[name] for one in each]),
                "least": round(min(one[name] for one in each), 3),
            }
            for name in RESTORED
        },
    })  # fmt: skip


@app.command()
def vqscore(
    pictures: Pictures,
    data: About = "",
    side: Annotated[int | None, typer.Option(help="Look at the middle of each picture alone, so many pixels.")] = None,
    jobs: int = 2,
    seed: int = 1,
) -> None:
    """Figures that must hold of VQscore, its agreement with its judges, and its climb along the qualities of JPEG."""
    card = json.loads((weight_files.folder() / "vqscore.json").read_text())
    judges = Judges.from_card(card["judges"])
    each = list(_each(partial(scored, side=side, seed=seed, judges=judges.names), pictures, jobs))
    what = f"middles of {side}x{side} of {len(each)}" if side else f"{len(each)} whole"
    versions = f"each in {len(each[0].scores)} versions"
    _note("vqscore", {
        "pictures": described(f"{what} lossless pictures, {versions}", data), **figures(each, judges),
    })  # fmt: skip


@app.command()
def simulator(
    pictures: Pictures,
    codec: Annotated[str, typer.Option(help="Whose simulator.")],
    kind: Annotated[str, typer.Option(help="simulator, or minnen for the proxy of that name.")] = "simulator",
    data: About = "",
    jobs: int = 2,
    seed: int = 1,
) -> None:
    """Agreement of a codec's simulator with its real encoder; beside JPEG's, that of the exact proxy."""
    for option, value, allowed in (("--codec", codec, RANGES), ("--kind", kind, KINDS_OF_PROXY)):
        if value not in allowed:
            raise typer.BadParameter(f"{option} {value}: allowed are {', '.join(allowed)}")
    low, high = RANGES[codec]
    recipe = SimulatorRecipe(codec, low, high, side=256, seed=seed)
    photos = DataSet(str(pictures))
    with tempfile.TemporaryDirectory() as folder:
        pairs = drained(encoded(photos, photos.names(), 8, recipe, Path(folder), jobs))
    figures = {kind: accuracy(load_proxy(kind, codec), pairs, codec)}
    if codec == "jpeg":
        figures["exact"] = accuracy(exact_jpeg, pairs, codec)
    _note(f"{kind}-{codec}", {
        "pictures": described(f"{len(photos.names())} lossless pictures", data),
        "patches": f"{len(pairs.bpp)} of 256x256 in {recipe.versions} versions, qualities {low}..{high} at random",
        **{name: {part: round(value, 4) for part, value in found.items()} for name, found in figures.items()},
    })  # fmt: skip


if __name__ == "__main__":
    app()
