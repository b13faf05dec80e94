"""Figure 4 of the NPP paper for any picture: what a preprocessor takes from it, and where a classifier looks.

    python tests/benchmarks/grad_cam.py photo.jpg --model classifier-residual --task-weights grocery -q 44 -o figure.png

A row a picture: the original, the preprocessed one, their difference (grey where there is none), and Grad-CAM of both
for the class that the model names in the original (red where it looks). Titles have the bytes of the two files.
Grad-CAM: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook

from kcompress import images
from kcompress.codecs import CODECS
from kcompress.encoding import encode
from kcompress.errors import UsageError
from kcompress.images import Image, Pixels
from kcompress.inference.batches import tensor
from kcompress.machine.classification import Classification
from kcompress.machine.models import open_model
from kcompress.machine.tasks import task
from kcompress.networks import Preprocessor
from kcompress.networks.loading import load, task_weights
from kcompress.setting import Setting

GAIN = 4.0
"""Factor of the residual."""

_TITLES = ("original", "preprocessed", "residual, times {:g}", "Grad-CAM of the original", "Grad-CAM, preprocessed")


@dataclass(frozen=True)
class Row:
    """What is shown of one picture, each (H, W, 3) uint8, and the bytes of its file without and with the network."""

    panels: tuple[Pixels, ...]
    sizes: tuple[int, int]


def grad_cam(judge: Classification, pictures: Tensor, classes: Sequence[int]) -> Tensor:
    """Grad-CAM (N, H, W), 0..1, at the model's size, of pictures (N, 3, H, W) for one class each.

    It is taken at the last feature map of more than one position.

    Raises:
        UsageError: the model shows none, as ONNX files and exported programs do.
    """
    maps: list[Tensor] = []

    def keep(module: object, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] * output.shape[-2] > 1:
            maps.append(output)

    shown = judge.resized(pictures).requires_grad_()
    hook = register_module_forward_hook(keep)
    try:
        scores = judge.model(shown)
    finally:
        hook.remove()
    if not maps or not maps[-1].requires_grad:
        raise UsageError(
            f"--model {judge.model.spec} shows no feature maps. Give a .tflite file or a classifier's name."
        )
    last = maps[-1]
    (slopes,) = torch.autograd.grad(scores[torch.arange(len(scores)), list(classes)].sum(), last)
    found = torch.relu((slopes.mean((2, 3), keepdim=True) * last).sum(1, keepdim=True)).detach()
    found = found / found.amax((2, 3), keepdim=True).clamp(min=1e-12)
    return F.interpolate(found, shown.shape[-2:], mode="bilinear")[:, 0]


def residual(original: Pixels, changed: Pixels, gain: float = GAIN) -> Pixels:
    """Difference as a picture: 128 where there is none."""
    grey = 128 + gain * (changed.astype(np.float32) - original)
    return np.asarray(np.clip(np.rint(grey), 0, 255), np.uint8)


def overlaid(picture: NDArray[np.float32], heat: NDArray[np.float32]) -> Pixels:
    """A picture (H, W, 3), 0..1, under the colours of a map (H, W), 0..1: blue to red."""
    colours = colormaps["jet"](heat)[..., :3]
    return np.asarray(np.rint(255 * (0.5 * picture + 0.5 * colours)), np.uint8)


def row(image: Image, setting: Setting, preprocessor: Preprocessor | None, judge: Classification, gain: float) -> Row:
    """Panels of one picture."""
    changed = image if preprocessor is None else preprocessor(image, setting)
    both = [image.pixels, changed.pixels]
    pictures = tensor(both).to(judge.model.device)
    answer = int(judge.pseudo_labels(pictures[:1]).argmax())
    heats = grad_cam(judge, pictures, [answer, answer])
    seen = judge.resized(pictures).permute(0, 2, 3, 1).detach()
    looks = [overlaid(*(each.cpu().numpy() for each in pair)) for pair in zip(seen, heats, strict=True)]
    codec = CODECS[setting.codec]
    first, second = (len(encode(image, codec, setting, each).data) for each in (None, preprocessor))
    return Row((*both, residual(image.pixels, changed.pixels, gain), *looks), (first, second))


def drawn(rows: Sequence[Row], gain: float) -> Figure:
    """All rows below each other."""
    figure = Figure(figsize=(12, 2.6 * len(rows)), dpi=100, facecolor="white", layout="constrained")
    grid = figure.subplots(len(rows), len(_TITLES), squeeze=False)
    for of_row, shown in zip(grid, rows, strict=True):
        titles = [title.format(gain) for title in _TITLES]
        titles[0], titles[1] = (f"{title}, {size:,} bytes" for title, size in zip(titles, shown.sizes, strict=False))
        for axes, panel, title in zip(of_row, shown.panels, titles, strict=True):
            axes.imshow(panel, interpolation="nearest")
            axes.set_title(title, fontsize=9)
            axes.set_axis_off()
    return figure


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--model", required=True, help="a classifier, as bench takes it")
    parser.add_argument("--network", default="npp", help="any of encode's")
    parser.add_argument("--task-weights", default="grocery", help="of npp, as encode takes them")
    parser.add_argument("--weights", type=Path, help="of other networks")
    parser.add_argument("--codec", default="bpg", choices=CODECS)
    parser.add_argument("-q", "--quality", type=int)
    parser.add_argument("--gain", type=float, default=GAIN, help="factor of the residual")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options: Any = parser.parse_args()
    judge = task("classification", open_model(options.model))
    assert isinstance(judge, Classification)
    weights = task_weights(options.task_weights) if options.network == "npp" else options.weights
    preprocessor = load(options.network, device="cpu", weights=weights, codec=options.codec)
    setting = CODECS[options.codec].setting(options.quality)
    shown = [images.read(path.read_bytes()) for path in options.pictures]
    drawn([row(each, setting, preprocessor, judge, options.gain) for each in shown], options.gain).savefig(
        options.output
    )


if __name__ == "__main__":
    main()
