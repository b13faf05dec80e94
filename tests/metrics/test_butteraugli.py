"""Butteraugli: against the program's own scores, by strips, and its gradient."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from metrics.degraded import jpeg, noisy

from kcompress.errors import InputError, UnsupportedError
from kcompress.images import Image, Pixels, pnm
from kcompress.inference.batches import tensor
from kcompress.metrics import butteraugli as module
from kcompress.metrics import butteraugli_lines as lines
from kcompress.metrics.butteraugli import butteraugli, prepare

pytestmark = pytest.mark.usefixtures("one_thread")
PROGRAM = shutil.which("butteraugli_main")


def shifted(pixels: Pixels, red: int, green: int, blue: int) -> Pixels:
    return np.clip(pixels + np.array([red, green, blue]), 0, 255).astype(np.uint8)


def smeared(pixels: Pixels) -> Pixels:
    mean = (pixels.astype(int) + np.roll(pixels, 1, 1) + np.roll(pixels, 2, 1) + np.roll(pixels, 1, 0)) // 4
    return mean.astype(np.uint8)


# By butteraugli_main 0.7 --pnorm 3 --intensity_target 80, of the rows and columns given.
KNOWN: list[tuple[str, Callable[[Pixels], Pixels], tuple[int, int], float]] = [
    ("brighter", lambda x: shifted(x, 4, 4, 4), (256, 320), 2.325088),
    ("red", lambda x: shifted(x, 9, 0, 0), (256, 320), 2.474118),
    ("blue", lambda x: shifted(x, 0, 0, 12), (97, 133), 1.595689),
    ("noise", lambda x: noisy(x, 9), (256, 320), 2.356047),
    ("faint noise", lambda x: noisy(x, 2), (131, 200), 0.373209),
    ("banding", lambda x: x // 16 * 16 + 8, (256, 320), 1.820132),
    ("smeared", smeared, (256, 320), 6.095182),
    ("small", smeared, (15, 17), 3.412038),
    ("smallest", smeared, (8, 9), 2.565986),
]


@pytest.mark.parametrize(("kind", "distort", "size", "expected"), KNOWN, ids=lambda value: str(value)[:12])
def test_scores_are_the_programs(
    photo: Pixels, kind: str, distort: Callable[[Pixels], Pixels], size: tuple[int, int], expected: float
) -> None:
    original = np.ascontiguousarray(photo[: size[0], : size[1]])
    assert prepare(original)(distort(original)) == pytest.approx(expected, rel=2e-4)


@pytest.mark.skipif(PROGRAM is None, reason="no butteraugli_main")
@pytest.mark.parametrize("quality", [15, 50, 90])
def test_the_program_agrees_on_jpegs(photo: Pixels, quality: int, tmp_path: Path) -> None:
    one, other = tmp_path / "one.ppm", tmp_path / "other.ppm"
    distorted = jpeg(photo, quality)
    one.write_bytes(b"".join(pnm(Image(photo))))
    other.write_bytes(b"".join(pnm(Image(distorted))))
    command = [str(PROGRAM), str(one), str(other), "--pnorm", "3", "--intensity_target", "80"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    norm = re.search(r"3-norm: (\S+)", printed)
    assert norm is not None
    assert prepare(photo)(distorted) == pytest.approx(float(norm[1]), rel=1e-3)


@pytest.mark.parametrize("strip", [64, 100])
def test_strips_change_nothing(photo: Pixels, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    distorted = jpeg(photo, 40)
    whole = prepare(photo)(distorted)
    monkeypatch.setattr(module, "_STRIP", strip)
    assert prepare(photo)(distorted) == pytest.approx(whole, rel=1e-5)


def test_a_batch_is_its_pictures(photo: Pixels) -> None:
    others = [jpeg(photo, 20), noisy(photo, 5)]
    found = butteraugli(tensor([photo, photo]), tensor(others))
    assert found.tolist() == pytest.approx([prepare(photo)(other) for other in others], rel=1e-4)


def test_gradients_lead_to_the_original(photo: Pixels) -> None:
    image, distorted = tensor([photo]), tensor([jpeg(photo, 40)]).requires_grad_()
    before = butteraugli(image, distorted)[0]
    (gradient,) = torch.autograd.grad(before, distorted)
    assert gradient.isfinite().all()
    step = 1e-3 / float(gradient.std())
    after = butteraugli(image, distorted.detach() - step * gradient)
    assert float(after) < before.item()
    small = 1e-2 * step
    expected = before.item() - small * float(gradient.square().sum())
    assert float(butteraugli(image, distorted.detach() - small * gradient)) == pytest.approx(expected, rel=2e-5)


def test_identical_pictures_have_a_gradient(photo: Pixels) -> None:
    image = tensor([photo])
    other = image.clone().requires_grad_()
    score = butteraugli(image, other)
    assert score.item() < 1e-4
    assert torch.autograd.grad(score.sum(), other)[0].isfinite().all()


@pytest.mark.parametrize("halves", [lines._DENSE, lines._SPARSE])
def test_energy_along_lines_is_that_of_convolutions(halves: tuple[lines.Half, ...]) -> None:
    planes = torch.rand(2, 3, 9, 12, dtype=torch.float64, requires_grad=True)
    kernels = torch.zeros(16, 1, 9, 9, dtype=torch.float64)
    kernels[:, :, 4, 4] = 1
    for kernel, half in zip(kernels[:, 0], halves, strict=True):
        for row, column in half:
            kernel[4 + row, 4 + column] = kernel[4 - row, 4 - column] = 1
    sums = torch.nn.functional.conv2d(planes.reshape(6, 1, 9, 12), kernels, padding=4)
    torch.testing.assert_close(lines._Energy.apply(planes, halves), sums.square().sum(1).view_as(planes))
    small = planes[:1, :1, :6, :5].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: lines._Energy.apply(values, halves), small)


def test_an_original_that_is_kept_scores_as_one_that_is_not(photo: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    distorted = jpeg(photo, 40)
    kept = prepare(photo)(distorted)
    monkeypatch.setattr(module, "_KEPT_PIXELS", 0)
    assert prepare(photo)(distorted) == kept


def test_sizes() -> None:
    grey = torch.full((1, 3, 16, 16), 0.5)
    with pytest.raises(InputError, match="one size"):
        butteraugli(grey, grey[..., :12])
    with pytest.raises(UnsupportedError, match="needs 8 pixels"):
        butteraugli(grey[..., :7], grey[..., :7])
