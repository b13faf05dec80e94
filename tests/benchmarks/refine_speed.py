"""Speed and gain of ``--refine`` on levels, on a device, with and without a CUDA graph.

``python tests/benchmarks/refine_speed.py [PICTURE ...] [--device cuda] [--steps 100] [--megapixels 1,4]``

Speed: seconds a megapixel of the descent on the first picture, enlarged; and of everything that `encode --refine` does
with it. Gain: the cost by the real encoder (Pillow) on crops of 384x384 of all pictures at three qualities, against
the file before.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image as Pillow

from kcompress.codecs import CODECS
from kcompress.encoding import Session, preprocessed
from kcompress.images import Image, Pixels
from kcompress.search.levels import Levels
from kcompress.search.plan import EncodePlan, plan
from kcompress.search.refinement import WEIGHTS, levels_of, refined
from kcompress.workers import drained, one_thread

QUALITIES = (45, 70, 85)


def _plan(quality: int, steps: int, device: str) -> EncodePlan:
    codec = CODECS["jpeg"]
    return plan(codec, codec.setting(quality), "rdo", backend="pillow", refine=steps, device=device)


def _levels(pixels: Pixels, planned: EncodePlan) -> Levels:
    image, session = Session.of(Image(pixels), planned.codec, planned.setting, planned.backend)
    return levels_of(image, session, planned.preprocessors[0], planned.weights, planned.device)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _gain(pixels: Pixels, quality: int, steps: int, device: str) -> tuple[float, float]:
    """Cost in per cent, and seconds a megapixel of everything."""
    planned = _plan(quality, steps, device)
    image, session = Session.of(Image(pixels), planned.codec, planned.setting, planned.backend)
    (preprocessor,) = planned.preprocessors
    before = session.encode(*preprocessed(image, preprocessor, session.setting))
    work = refined(image, session, preprocessor, before, steps=steps, device=planned.device)
    _, how = drained(work)
    return 100 * how.cost, how.seconds / (pixels[..., 0].size / 1e6)


def main() -> None:
    """Print a line a measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", nargs="*", type=Path, default=[Path(__file__).parents[1] / "images" / "lake.png"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--megapixels", default="1,4")
    asked = parser.parse_args()
    one_thread()
    device = _plan(70, asked.steps, asked.device).device
    name = torch.cuda.get_device_name(device) if device != "cpu" else "one core"
    print(f"{device} ({name}), torch {torch.__version__}, {asked.steps} steps, mix {WEIGHTS}", flush=True)
    photos = [Pillow.open(path).convert("RGB") for path in asked.pictures]
    if device != "cpu":  # libraries load their kernels
        for graph in (False, True):
            levels = _levels(np.asarray(photos[0].crop((0, 0, 320, 320))), _plan(70, 12, asked.device))
            list(levels.descend((12,), graph=graph))
    for megapixels in map(float, asked.megapixels.split(",")):
        scale = math.sqrt(megapixels * 1e6 / (photos[0].width * photos[0].height))
        size = round(photos[0].width * scale), round(photos[0].height * scale)
        pixels = np.asarray(photos[0].resize(size, Pillow.Resampling.LANCZOS))
        area = size[0] * size[1] / 1e6
        for graph in (False, True) if device != "cpu" else (False,):
            levels = _levels(pixels, _plan(70, asked.steps, asked.device))
            taken = _seconds(lambda: list(levels.descend((asked.steps,), graph=graph)))  # noqa: B023 (called at once)
            memory = f", {torch.cuda.max_memory_reserved() / 1e9:.1f} GB" if device != "cpu" else ""
            how = "graph" if graph else "eager"
            print(f"{size[0]}x{size[1]} descent, {how}: {taken / area:.2f} s/MP{memory}", flush=True)
        cost, seconds = _gain(pixels, 70, asked.steps, asked.device)
        print(f"{size[0]}x{size[1]} all of --refine: {seconds:.2f} s/MP, cost {cost:+.2f} %", flush=True)
    costs = []
    for path, photo in zip(asked.pictures, photos, strict=True):
        left, top = max(0, photo.width - 384) // 2, max(0, photo.height - 384) // 2
        crop = np.ascontiguousarray(np.asarray(photo)[top : top + 384, left : left + 384])
        for quality in QUALITIES:
            cost, seconds = _gain(crop, quality, asked.steps, asked.device)
            costs.append(cost)
            print(f"{path.name} crop, quality {quality}: cost {cost:+.2f} %, {seconds:.1f} s/MP", flush=True)
    print(f"mean cost {np.mean(costs):+.2f} %")


if __name__ == "__main__":
    main()
