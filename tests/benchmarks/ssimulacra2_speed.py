"""SSIMULACRA2 on one core: this package's against the PyPI package ``ssimulacra2``, side by side in one run.

``python tests/benchmarks/ssimulacra2_speed.py [MEGAPIXELS]``; the original is a stored photograph, enlarged, the
distorted version its JPEG of quality 50. Processor time, the best of several rounds that take turns, so that what else
runs on the machine weighs on both alike. Files cost the package next to nothing: it gets BMP from memory.
"""

import io
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import ssimulacra2
import torch
from PIL import Image

from kcompress.metrics.ssimulacra2 import prepare

ROUNDS = 5


def _seconds(work: Callable[[], float]) -> tuple[float, float]:
    start = time.process_time()
    score = work()
    return time.process_time() - start, score


def main(megapixels: float) -> None:
    """Print seconds a megapixel and the ratios."""
    torch.set_num_threads(1)
    photo = Image.open(Path(__file__).parents[1] / "images" / "lake.png").convert("RGB")
    scale = math.sqrt(megapixels * 1e6 / (photo.width * photo.height))
    original = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    original.save(file, "JPEG", quality=50)
    distorted = Image.open(file).convert("RGB")
    files = io.BytesIO(), io.BytesIO()
    original.save(files[0], "BMP")
    distorted.save(files[1], "BMP")
    pixels, other = np.asarray(original), np.asarray(distorted)
    prepared = prepare(pixels)

    work: dict[str, Callable[[], float]] = {
        f"package {ssimulacra2.__version__}": lambda: float(ssimulacra2.compute_ssimulacra2(*files)),
        "kcompress, one pair": lambda: prepare(pixels)(other),
        "kcompress, original prepared": lambda: prepared(other),
    }
    rounds = [{name: _seconds(each) for name, each in work.items()} for _ in range(ROUNDS)]
    best = {name: min(found[name] for found in rounds) for name in work}
    package = next(iter(best.values()))[0]
    area = original.width * original.height / 1e6
    print(f"{original.width}x{original.height}, {area:.2f} megapixels, one core")
    for name, (seconds, score) in best.items():
        print(f"{name:30} {seconds / area:6.3f} s/MP   ratio {package / seconds:5.1f}   score {score:.4f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
