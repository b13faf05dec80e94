"""Graphs of torch modules: what ONNX Runtime makes of them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.inference.engine import OnnxEngine
from kcompress.inference.graphs import graph
from kcompress.inference.row_scan import RowScanNetwork
from kcompress.inference.window_scan import WindowScanNetwork

SIDE = 4


class Toy(RowScanNetwork):
    """Cells of 4x4 pixels are averaged, smoothed among each other, and added to what each one is."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 5, 1)
        self.look = nn.Conv2d(5, 5, 3, padding=1)

    def run_head(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        cells = F.avg_pool2d(image, SIDE)
        return self.mix(cells) * condition[:, :1, None, None], cells.square()

    def run_context(self, features: Tensor) -> Tensor:
        around: Tensor = F.relu(self.look(features))
        return around

    def run_tail(self, image: Tensor, condition: Tensor, around: Tensor, *kept: Tensor) -> Tensor:
        added = around[:, :3] * kept[0] + condition[:, 1:, None, None]
        return image + F.interpolate(added, scale_factor=float(SIDE), mode="nearest")


@pytest.fixture(scope="module")
def toy() -> Toy:
    torch.manual_seed(0)
    return Toy()


@pytest.fixture(scope="module")
def model(toy: Toy) -> onnx.ModelProto:
    return graph(toy, SIDE, [torch.rand(1, 2)])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 7), (6, 1), (5, 9)])
def test_a_graph_by_rows_equals_the_module(
    toy: Toy, model: onnx.ModelProto, tmp_path: Path, rows: int, columns: int
) -> None:
    onnx.save(model, tmp_path / "toy.onnx")
    random = np.random.default_rng(rows)
    image = random.random((1, 3, rows * SIDE, columns * SIDE), np.float32)
    condition = random.random((1, 2), np.float32)
    with torch.no_grad():
        expected = toy(torch.from_numpy(image), torch.from_numpy(condition)).numpy()
    found = OnnxEngine(tmp_path / "toy.onnx", 1)(image, condition)
    assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-5
    assert np.abs(found - image).max() > 0.1


def test_it_is_a_valid_graph_that_goes_twice_through_the_rows(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node].count("Scan") == 2
    assert [each.name for each in model.graph.input] == ["image", "condition"]


class Glance(WindowScanNetwork):
    """Tokens of 4x4 pixels; the output is a mean in which bright ones count more, and so depends on all windows."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 5, 1)

    def run_window(self, windows: Tensor) -> Tensor:
        return self.mix(F.avg_pool2d(windows, SIDE)).flatten(2).transpose(1, 2)

    def run_picture(self, tokens: Tensor) -> Tensor:
        return (tokens * torch.softmax(20 * tokens, dim=1)).sum(dim=1)


@pytest.mark.parametrize(("windows", "rows", "columns"), [(1, 1, 2), (1, 7, 3), (3, 1, 1), (5, 4, 6)])
def test_a_graph_by_windows_equals_the_module(tmp_path: Path, windows: int, rows: int, columns: int) -> None:
    torch.manual_seed(0)
    module = Glance()
    model = graph(module, SIDE)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node].count("Scan") == 1
    onnx.save(model, tmp_path / "glance.onnx")
    seen = np.random.default_rng(rows).random((windows, 3, rows * SIDE, columns * SIDE), np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(seen)).numpy()
        alone = [module(torch.from_numpy(window[None])).numpy() for window in seen]
    found = OnnxEngine(tmp_path / "glance.onnx", 1)(seen)
    assert found.shape == expected.shape == (1, 5) and np.abs(found - expected).max() < 1e-5
    assert windows == 1 or np.abs(found - np.mean(alone, axis=0)).max() > 1e-3
