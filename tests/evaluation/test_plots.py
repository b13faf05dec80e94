"""curves.png, looked at as matplotlib's objects: one legend, and for every preprocessor a look of its own."""

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from matplotlib.figure import Figure

from kcompress.evaluation.plots import overview
from kcompress.evaluation.points import Point

POINT = Point("a.png", "0" * 64, "jpeg", "pillow", "1", "none", 75, 3, 5, 100, 1.0, 0.1, 0.2, {"psnr": 31.0})


def drawn(preprocessors: dict[str, list[str]], metrics: list[str]) -> Any:
    """The figure of these metrics and these preprocessors by codec."""
    points = [
        replace(POINT, codec=codec, preprocessor=name, quality=quality, bpp=quality / 40,
                scores={"psnr": 30.0 + quality + number, "vif": 0.5 + quality / 100})
        for codec, names in preprocessors.items()
        for number, name in enumerate(names)
        for quality in (40, 80)
    ]  # fmt: skip
    with mock.patch.object(Figure, "savefig", autospec=True) as saved:
        overview(points, list(preprocessors), metrics)
    return saved.call_args.args[0]


MANY = [f"nlm:h={h}" for h in range(1, 21)]


@pytest.mark.parametrize("metrics", [["psnr"], ["psnr", "vif"]])
@pytest.mark.parametrize(
    "preprocessors",
    [{"jpeg": ["none", "rdo", "shrink"], "webp": ["none", "feedback", "shrink"]}, {"jpeg": ["none", *MANY]}],
)
def test_every_preprocessor_has_its_own_look_in_all_panels_under_one_legend(
    preprocessors: dict[str, list[str]], metrics: list[str]
) -> None:
    figure = drawn(preprocessors, metrics)
    looks: dict[str, set[tuple[str, str]]] = {}
    for panel in figure.axes:
        assert panel.get_legend() is None and len(panel.lines) >= 3
        for line in panel.lines:
            looks.setdefault(line.get_label(), set()).add((line.get_color(), line.get_linestyle()))
    assert all(len(of_one) == 1 for of_one in looks.values())
    assert len(set.union(*looks.values())) == len(looks)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == set(looks)
    figure.draw_without_rendering()
    around = legend.get_window_extent()
    assert figure.bbox.x0 <= around.x0 and around.x1 <= figure.bbox.x1
    assert not any(around.overlaps(panel.get_tightbbox()) for panel in figure.axes)
