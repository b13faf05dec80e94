"""ColorVideoVDP: the package's own scores, and a clear word where it is not there."""

import sys

import numpy as np
import pytest
from metrics.degraded import jpeg, noisy

from kcompress.errors import MissingProgramError
from kcompress.metrics import METRICS, cvvdp

installed = pytest.mark.skipif(not cvvdp.available(), reason="cvvdp is not installed")


@installed
def test_scores_are_the_packages(photo: np.ndarray) -> None:
    import pycvvdp

    score = METRICS["cvvdp"].scorer(photo)
    for distorted in (jpeg(photo, 20), noisy(photo, 8), photo[:, :, ::-1]):
        judge = pycvvdp.cvvdp(display_name="standard_4k")
        expected, _ = judge.predict(np.ascontiguousarray(distorted), np.ascontiguousarray(photo), dim_order="HWC")
        assert score(distorted) == pytest.approx(float(expected), abs=1e-5)


@installed
def test_colour_counts(photo: np.ndarray) -> None:
    grey = photo.mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)
    assert METRICS["cvvdp"].score(photo, grey) < METRICS["cvvdp"].score(photo, photo) == 10


@pytest.mark.parametrize("failure", [ImportError, RuntimeError])
def test_where_it_cannot_be_imported_the_way_to_it_is_told(failure, photo, monkeypatch) -> None:
    class Broken:
        """As torchvision beside another torch than its own."""

        def find_spec(self, name, *_):
            if name == "pycvvdp":
                raise failure("operator torchvision::nms does not exist")

    monkeypatch.delitem(sys.modules, "pycvvdp", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    cvvdp.available.cache_clear()
    try:
        with pytest.raises(MissingProgramError, match=r"cvvdp is not installed\. pip install 'kcompress\[cvvdp\]'"):
            METRICS["cvvdp"].scorer(photo)
    finally:
        cvvdp.available.cache_clear()
