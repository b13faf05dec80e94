"""Tiny pictures, and filters that count."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labeling.tools import Filters, save

from kcompress.images import Image, Pixels
from kcompress.labeling import plan as plans
from kcompress.pool import FILTERS, FilterType
from kcompress.pool.detail import detail
from kcompress.pool.nonlocal_means import nonlocal_means


@pytest.fixture
def photo(lake: Image) -> Pixels:
    """64x48, a piece of the photograph with much texture."""
    return np.ascontiguousarray(lake.pixels[150:198, 200:264])


@pytest.fixture
def photos(tmp_path: Path, lake: Image, balloons: Image) -> Path:
    """Three pictures, one of them in a folder below."""
    folder = tmp_path / "photos"
    save(lake.pixels[150:198, 200:264], folder / "a.png")
    save(balloons.pixels[60:100, 100:141], folder / "below" / "b.png")
    save(lake.pixels[300:340, 0:40], folder / "c.png")
    return folder


@pytest.fixture
def filters(monkeypatch: pytest.MonkeyPatch) -> Iterator[Filters]:
    """Make filters with ``add``; nlm and detail count their calls too."""

    def register(name: str, work) -> None:
        usual = FILTERS.get(name, FilterType(name, "of the tests", work))
        monkeypatch.setitem(FILTERS, name, replace(usual, function=work))
        plans._groups.cache_clear()

    made = Filters(register)
    made.add("nlm", nonlocal_means)
    made.add("detail", detail)
    yield made
    plans._groups.cache_clear()
