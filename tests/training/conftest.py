"""A small labelled data set, and a few photographs."""

from pathlib import Path

import numpy as np
import pytest
from labeling.tools import labelled, plan, save

from kcompress.dataset import DataSet
from kcompress.images import Image


@pytest.fixture(scope="module")
def labels(lake: Image, balloons: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels.csv of ten noisy crops, strong denoising against nothing, JPEG 75; the originals lie in ``photos``."""
    folder = tmp_path_factory.mktemp("labelled")
    for number in range(10):
        source = (lake, balloons)[number % 2].pixels[7 * number : 7 * number + 72, 9 * number : 9 * number + 96]
        noisy = source + np.random.default_rng(number + 20).normal(0, 12, source.shape)
        save(np.clip(noisy, 0, 255).astype(np.uint8), folder / f"photos/{number}.bmp")
    labelled(plan(folder / "photos", pool=("nlm:h=10",), metrics=("ssimulacra2", "psnr")), folder / "labels")
    return folder / "labels" / "labels.csv"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, lake: Image) -> DataSet:
    """Six overlapping crops of 128x112 pixels."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        save(lake.pixels[20 * number : 20 * number + 112, 30 * number : 30 * number + 128], folder / f"{number}.png")
    return DataSet(str(folder))
