"""Pictures that every test can ask for by name."""

import numpy as np
import pytest
from pictures import in_grey, load, smooth

from kcompress.images import Image


@pytest.fixture(scope="session")
def lake() -> Image:
    """Photograph, 640x400."""
    return load("lake.png")


@pytest.fixture(scope="session")
def balloons() -> Image:
    """Photograph with odd sides, 333x217."""
    return load("balloons-333x217.png")


@pytest.fixture(scope="session")
def grey() -> Image:
    """Without colour, 101x67."""
    return in_grey(Image(smooth(101, 67)))


@pytest.fixture(scope="session")
def alpha() -> Image:
    """Partly transparent in all degrees, 97x61."""
    ramp = np.linspace(0, 255, 97).astype(np.uint8)
    return Image(smooth(97, 61), np.ascontiguousarray(np.broadcast_to(ramp, (61, 97))))


@pytest.fixture(scope="session")
def one_pixel() -> Image:
    """1x1."""
    return Image(np.array([[[200, 60, 30]]], np.uint8))


@pytest.fixture(scope="session")
def thin() -> Image:
    """1 wide, 200 tall."""
    return Image(smooth(1, 200))
