"""plan.json knows by which weights points were made."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_weights import write_all

from kcompress.dataset import DataSet
from kcompress.errors import UsageError
from kcompress.evaluation.memory import recalled, remember, weights_behind
from kcompress.evaluation.plan import Plan
from kcompress.evaluation.points import Point


@pytest.mark.parametrize("name", ["ar", "ar:n=2", "nlm:h=2+ar", "ar+sharpen:a=0.1", "nlm:h=2+ar:n=2+blur"])
def test_other_weights_of_ar_are_noticed_in_a_series_too(
    name: str, shipped: Callable[[Path], None], tiny_weights: Path, tmp_path: Path
) -> None:
    shipped(tiny_weights)
    plan = Plan(DataSet("photos"), {"jpeg": (50,)}, ("none", name, "nlm:h=2"), ("psnr",), backend="pillow")
    remember(tmp_path / "plan.json", {"jpeg": [50]}, weights_behind(plan))
    points = [Point("a.png", "0" * 64, "jpeg", "pillow", "1", name, 50, 8, 8, 9, 1.1, 0.0, 0.0, {"psnr": 30.0})]
    assert recalled(tmp_path / "plan.json", weights_behind(plan), points, resume=True) == {"jpeg": [50]}
    (tmp_path / "other").mkdir()
    write_all(tmp_path / "other")
    path = tmp_path / "other" / "ar.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    shipped(tmp_path / "other")
    with pytest.raises(UsageError, match=r"weights, tables or use of .*ar.* are others than before"):
        recalled(tmp_path / "plan.json", weights_behind(plan), points, resume=True)
    assert recalled(tmp_path / "plan.json", weights_behind(plan), [], resume=True) == {"jpeg": [50]}  # none was used
