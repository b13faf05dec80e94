"""What the metrics' tests share."""

import numpy as np
import pytest

from kcompress.images import Pixels


@pytest.fixture(scope="session")
def photo(lake) -> Pixels:
    """(256, 320, 3): above every metric's smallest side."""
    return np.ascontiguousarray(lake.pixels[100:356, 200:520])
