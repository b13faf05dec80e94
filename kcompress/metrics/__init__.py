"""Metrics, one file each; torch is imported when a metric needs it."""

from collections.abc import Iterable
from math import inf

from kcompress.errors import UsageError
from kcompress.images import Pixels
from kcompress.inference.weights import is_shipped
from kcompress.metrics import psnr, vmaf, vqscore
from kcompress.metrics.metric import Metric, ScoreFunction

__all__ = ["METRICS", "Metric", "ScoreFunction", "Scorer"]


def _butteraugli(original: Pixels) -> ScoreFunction:
    from kcompress.metrics import butteraugli

    return butteraugli.prepare(original)


def _ms_ssim(original: Pixels) -> ScoreFunction:
    from kcompress.metrics import ms_ssim

    return ms_ssim.prepare(original)


def _psnr_hvs_m(original: Pixels) -> ScoreFunction:
    from kcompress.metrics import psnr_hvs_m

    return psnr_hvs_m.prepare(original)


def _ssimulacra2(original: Pixels) -> ScoreFunction:
    from kcompress.metrics import ssimulacra2

    return ssimulacra2.prepare(original)


def _vif(original: Pixels) -> ScoreFunction:
    from kcompress.metrics import vif

    return vif.prepare(original)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="ssimulacra2",
            about="perceived quality: 90 visually lossless, 70 high, 50 medium, 30 low",
            direction="higher",
            range=(-inf, 100),
            reference=True,
            smallest_side=8,
            prepare=_ssimulacra2,
        ),
        Metric(
            name="psnr",
            about="peak signal-to-noise ratio over RGB, in dB",
            direction="higher",
            range=(0, inf),
            reference=True,
            smallest_side=1,
            prepare=psnr.prepare,
        ),
        Metric(
            name="psnr-hvs-m",
            about="PSNR of what can be seen of luma's error beside the picture's own texture, in dB",
            direction="higher",
            range=(-inf, inf),
            reference=True,
            smallest_side=8,
            prepare=_psnr_hvs_m,
        ),
        Metric(
            name="ms-ssim",
            about="multi-scale structural similarity over RGB",
            direction="higher",
            range=(0, 1),
            reference=True,
            smallest_side=161,
            prepare=_ms_ssim,
        ),
        Metric(
            name="vif",
            about="how much of what luma's detail tells is still told; no credit for enhancement",
            direction="higher",
            range=(0, 1),
            reference=True,
            smallest_side=48,
            prepare=_vif,
        ),
        Metric(
            name="vmaf",
            about="Netflix's VMAF 0.6.1 on BT.709 luma; identical still pictures score 97.4",
            direction="higher",
            range=(0, 100),
            reference=True,
            smallest_side=vmaf.SMALLEST_SIDE,
            prepare=lambda original: vmaf.prepare(original, "vmaf_v0.6.1"),
            available=vmaf.available,
            install=vmaf.INSTALL,
        ),
        Metric(
            name="vmaf-neg",
            about="VMAF without reward for enhancement; identical still pictures score 97.4",
            direction="higher",
            range=(0, 100),
            reference=True,
            smallest_side=vmaf.SMALLEST_SIDE,
            prepare=lambda original: vmaf.prepare(original, "vmaf_v0.6.1neg"),
            available=vmaf.available,
            install=vmaf.INSTALL,
        ),
        Metric(
            name="butteraugli",
            about="3-norm of visible differences at 80 nits; about 1 at the threshold of visibility",
            direction="lower",
            range=(0, inf),
            reference=True,
            smallest_side=8,
            prepare=_butteraugli,
        ),
        Metric(
            name="vqscore",
            about="quality without a look at the original, by a network; 100 is without visible traces",
            direction="higher",
            range=(0, 100),
            reference=False,
            smallest_side=vqscore.SMALLEST_SIDE,
            prepare=lambda original: vqscore.vqscore,  # without reference: the original does not count
            available=lambda: is_shipped("vqscore"),
            install="Its weights did not come along: reinstall kcompress.",
        ),
    )
}


class Scorer:
    """Several metrics of one original, whose part is computed once for all distorted versions."""

    def __init__(self, original: Pixels, names: Iterable[str]) -> None:
        """Prepare an original.

        Args:
            original: (H, W, 3) sRGB.
            names: of metrics, keys of ``METRICS``.

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
