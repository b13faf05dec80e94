"""Files of a picture: each encoded once, and none kept longer than it is wanted."""

import gc
import weakref

import numpy as np
import pytest

from kcompress.dataset import DataSet
from kcompress.evaluation.files import Files
from kcompress.evaluation.plan import Plan
from kcompress.images import Image
from kcompress.pool import FILTERS

PLAN = Plan(DataSet("photos"), {"jpeg": (50, 80)}, ("none", "blur"), ("psnr",), backend="pillow")


def test_a_file_is_encoded_once_and_what_no_setting_changes_is_filtered_once(
    lake: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    work = FILTERS["blur"].function
    monkeypatch.setitem(
        vars(FILTERS["blur"]), "function", lambda *given, **more: calls.append(1) or work(*given, **more)
    )
    files = Files(PLAN, Image(lake.pixels[:64, :64]), "jpeg")
    first = files.file("blur", 50)
    assert files.file("blur", 50) is first and files.file("blur", 80).data != first.data
    assert len(calls) == 1
    assert len(files.file("none", 50).data) > len(first.data)
    assert np.array_equal(files.pixels("blur", 50), files.pixels("blur", 50))


def test_a_picture_is_let_go_at_once(lake: Image) -> None:
    """Without waiting for the collector: pictures are large."""
    pixels = lake.pixels[:64, :64].copy()
    gone = weakref.ref(pixels)
    gc.disable()
    try:
        files = Files(PLAN, Image(pixels), "jpeg")
        files.file("none", 50)
        del files, pixels
        assert gone() is None
    finally:
        gc.enable()
