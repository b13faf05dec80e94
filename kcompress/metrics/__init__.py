"""Metrics, one file each; torch is imported when a metric needs it."""

from collections.abc import Callable, Iterable
from importlib import import_module
from math import inf

from kcompress.errors import UsageError
from kcompress.images import Pixels
from kcompress.inference.weights import is_shipped
from kcompress.metrics import cvvdp, psnr, vmaf, vqscore
from kcompress.metrics.metric import Metric, ScoreFunction

__all__ = ["METRICS", "Metric", "ScoreFunction", "Scorer"]


def _prepared_by(module: str) -> Callable[[Pixels], ScoreFunction]:
    """Function ``prepare`` of a module of this room, which is imported when the function is called."""
    return lambda original: import_module(f"kcompress.metrics.{module}").prepare(original)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "ssimulacra2", "perceived quality: 90 visually lossless, 70 high, 50 medium, 30 low",
            "higher", (-inf, 100), smallest_side=8, prepare=_prepared_by("ssimulacra2"),
        ),
        Metric(
            "psnr", "peak signal-to-noise ratio over RGB, in dB",
            "higher", (0, inf), smallest_side=1, prepare=psnr.prepare,
        ),
        Metric(
            "psnr-hvs-m", "PSNR of what can be seen of luma's error beside the picture's own texture, in dB",
            "higher", (-inf, inf), smallest_side=8, prepare=_prepared_by("psnr_hvs_m"),
        ),
        Metric(
            "ms-ssim", "multi-scale structural similarity over RGB",
            "higher", (0, 1), smallest_side=161, prepare=_prepared_by("ms_ssim"),
        ),
        Metric(
            "iw-ssim", "multi-scale structural similarity of luma, weighted by information",
            "higher", (0, 1), smallest_side=161, prepare=_prepared_by("iw_ssim"),
        ),
        Metric(
            "vif", "how much of what luma's detail tells is still told; no credit for enhancement",
            "higher", (0, 1), smallest_side=48, prepare=_prepared_by("vif"),
        ),
        Metric(
            "vmaf", "Netflix's VMAF 0.6.1 on BT.709 luma; identical still pictures score 97.4",
            "higher", (0, 100), smallest_side=vmaf.SMALLEST_SIDE,
            prepare=lambda original: vmaf.prepare(original, "vmaf_v0.6.1"),
            available=vmaf.available, install=vmaf.INSTALL,
        ),
        Metric(
            "vmaf-neg", "VMAF without reward for enhancement; identical still pictures score 97.4",
            "higher", (0, 100), smallest_side=vmaf.SMALLEST_SIDE,
            prepare=lambda original: vmaf.prepare(original, "vmaf_v0.6.1neg"),
            available=vmaf.available, install=vmaf.INSTALL,
        ),
        Metric(
            "butteraugli", "3-norm of visible differences at 80 nits; about 1 at the threshold of visibility",
            "lower", (0, inf), smallest_side=8, prepare=_prepared_by("butteraugli"),
        ),
        Metric(
            "cvvdp", "ColorVideoVDP on a 4K screen: 10 less just-objectionable differences of luma and colour",
            "higher", (-inf, 10), smallest_side=cvvdp.SMALLEST_SIDE, prepare=cvvdp.prepare,
            available=cvvdp.available, install=cvvdp.INSTALL,
        ),
        Metric(
            "vqscore", "quality without a look at the original, by a network; 100 is without visible traces",
            "higher", (0, 100), smallest_side=vqscore.SMALLEST_SIDE, reference=False,
            prepare=lambda original: vqscore.vqscore,  # without reference: the original does not count
            available=lambda: is_shipped("vqscore"),
            install="Its weights did not come along: reinstall kcompress.",
        ),
    )
}  # fmt: skip


class Scorer:
    """Several metrics of one original, whose part is computed once for all distorted versions."""

    def __init__(self, original: Pixels, names: Iterable[str]) -> None:
        """Prepare an original (H, W, 3), sRGB, for metrics by name.

        Raises:
            UsageError: no such metric.
            MissingProgramError: a metric is not installed.
            UnsupportedError: the picture is too small for one.
        """
        self._scorers = {name: _metric(name).scorer(original) for name in names}

    def __call__(self, distorted: Pixels) -> dict[str, float]:
        """Scores by name, in the order asked for, of distorted pixels (H, W, 3).

        Raises:
            InputError: the sizes differ.
            ProgramError: a program behind a metric failed.
        """
        return {name: score(distorted) for name, score in self._scorers.items()}


def _metric(name: str) -> Metric:
    try:
        return METRICS[name]
    except KeyError:
        raise UsageError(f"There is no metric {name}. Choose among {', '.join(METRICS)}.") from None
