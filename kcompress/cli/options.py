"""Options that several commands share: each spelled and explained once. Nothing heavy is imported here."""

import os
import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from kcompress.cli import output
from kcompress.errors import MissingProgramError, UsageError

Name = TypeVar("Name", bound=StrEnum)


class CodecName(StrEnum):
    """Values of ``--codec``."""

    jpeg = "jpeg"
    webp = "webp"
    hevc = "hevc"
    bpg = "bpg"
    avif = "avif"


class ChromaName(StrEnum):
    """Values of ``--chroma``."""

    half = "420"
    full = "444"


class MetadataName(StrEnum):
    """Values of ``--metadata``."""

    icc = "icc"
    all = "all"
    none = "none"


_ALIASES = {"jpg": "jpeg", "heic": "hevc", "heif": "hevc", "h265": "hevc", "4:2:0": "420", "4:4:4": "444"}


def alias(text: str) -> str:
    """A name as it is known here: that of a codec's files stands for the codec."""
    name = text.strip().lower().removeprefix(".")
    return _ALIASES.get(name, name)


def by_name(kind: type[Name]) -> dict[str, Any]:
    """Parser and help of an option that takes one of these names."""

    def parsed(text: str) -> Name:
        try:
            return kind(alias(text))
        except ValueError:
            raise typer.BadParameter(f"{text} is not known. Allowed: {', '.join(kind)}.") from None

    return {"parser": parsed, "metavar": f"[{'|'.join(kind)}]"}


# Typer resolves these at run time, where Optional reads well in its help.
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality", "-q",
        help="On the codec's own scale: JPEG, WebP and AVIF 0..100, higher is better (75, AVIF 60); "
        "HEVC and BPG 0..51, as good as at this constant QP, lower is better (28 and 29).",
    ),
]  # fmt: skip
Network = Annotated[
    str | None,
    typer.Option("--network", "-n", help="Preprocessor: none, shrink, rdo, feedback, kuchen, blend, npp for machines; "
                 "auto takes the one that measures best on each picture. See doctor for what is installed. "
                 "[default: rdo for jpeg, none for avif, else feedback]"),
]  # fmt: skip
Device = Annotated[str, typer.Option(help="Where the network and --refine run: auto, cpu, cuda or cuda:N.")]
Backend = Annotated[str, typer.Option(help="Encoder: auto, or a name that doctor shows.")]
Strength = Annotated[
    float | None,
    typer.Option(help="Share of the network's whole change, 0..1. [default: what its weights tell: kuchen 0.5, "
                 "feedback 0.8, others 1]"),
]  # fmt: skip
Refine = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Steps of optimisation on each picture, judged by the real encoder: JPEG's "
                 "decisions on coefficients (try 60; minutes a megapixel), elsewhere the strength (try 8). "
                 "[default: 0]"),
]  # fmt: skip
Chroma = Annotated[
    ChromaName | None, typer.Option(**by_name(ChromaName), help="Chroma sampling. WebP has 420 only. [default: 420]")
]
Bits = Annotated[
    int | None,
    typer.Option(
        metavar="8|10",
        help="Bits a sample in the file: 10 for AVIF, HEVC and BPG; not every reader of HEIC has it. [default: 8]",
    ),
]
Effort = Annotated[
    int | None,
    typer.Option(help="More is slower and smaller: JPEG 0 sequential, 1 progressive, 2 in the best scans (2); "
                 "WebP 0..7 (7); HEVC 0..9 (6) and BPG 1..9 (8), x265's presets; AVIF 0..10 (4)."),
]  # fmt: skip
SharpYuv = Annotated[
    bool | None,
    typer.Option("--sharp-yuv/--no-sharp-yuv", help="WebP: chroma computed for how decoders enlarge it, "
                 "by cwebp alone, or means. [default: means]"),
]  # fmt: skip
Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="KEY=VALUE", help="Parameter of the encoder in place of the codec's own; any "
                 "number of times. HEVC and BPG have x265's aq-mode, aq-strength, cbqpoffs, crqpoffs, psy-rd, "
                 "psy-rdoq, sao, scaling-list (HEVC), tskip, tu-intra-depth."),
]  # fmt: skip
Tables = Annotated[
    str,
    typer.Option("--tables", metavar="auto|standard|learned|FILE", help="JPEG's quantisation tables: libjpeg's, "
                 "learned ones, or a file as cjpeg -qtables reads it, scaled by -q as there. Auto takes learned ones "
                 "with rdo, blend and auto, else libjpeg's."),
]  # fmt: skip
Metadata = Annotated[
    MetadataName,
    typer.Option(
        **by_name(MetadataName), help="Keep the ICC profile, that and EXIF and XMP, or nothing (colours become sRGB)."
    ),
]
Background = Annotated[str | None, typer.Option(help="Flatten transparency over a colour: white, #rrggbb, rgb(r,g,b).")]
Frame = Annotated[int | None, typer.Option(help="Which picture of an animation or of several pages, from 0.")]


def _helpful(jobs: int | None) -> int | None:
    """No more jobs than help: each takes a thread or a process, and memory for a picture."""
    most = 4 * cores()
    if jobs is None or jobs <= most:
        return jobs
    output.say(f"note: --jobs {jobs} is more than helps on {cores()} cores; {most} are run", style="yellow")
    return most


Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        callback=_helpful,
        help="Pictures at a time. At most 4 a core. [default: number of cores]",
    ),
]
WeightsFile = Annotated[
    Path | None, typer.Option("--weights", help="Weights (.safetensors) in place of those that came along.")
]
TaskWeights = Annotated[
    str | None,
    typer.Option("--task-weights", metavar="TASK|FILE", help="Of npp: the task whose needs it keeps, or a file."),
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="SPEC",
        help="Model that pictures are for, once a model: .pt2, TorchScript, .tflite, .onnx (bench alone), "
        "fastestdet:FILE, torchvision:NAME, or a classifier that came along; after a colon "
        "size=224,mean=imagenet,range=255,order=bgr."
    ),
]  # fmt: skip
Labels = Annotated[
    bool,
    typer.Option("--labels", help="Pictures lie in one folder a class. Without, the truth is what the model itself "
                 "says of the uncompressed picture."),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")]


Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="Scheduler of a dask cluster, tcp://HOST:PORT, for --jobs."),
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave pictures whose output is there: an interrupted batch goes on.")
]


Quiet = Annotated[
    bool, typer.Option("--quiet", callback=output.hush, is_eager=True, help="Say nothing but what failed.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Bits per pixel, times, versions; every note of every picture.")
]


def pairs(option: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    """Names and values of texts such as ``aq-mode=1``.

    Raises:
        UsageError: a text without a name or a value.
    """
    found = [tuple(part.strip() for part in text.partition("=")) for text in texts]
    for name, _, value in found:
        if not name or not value:
            raise UsageError(f"{option} {name}{value} is no KEY=VALUE. Give such as {option} aq-mode=1.")
    return [(name, value) for name, _, value in found]


def listed(text: str) -> list[str]:
    """Names with commas between."""
    return [part.strip() for part in text.split(",") if part.strip()]


def chosen(text: str, option: str, known: Iterable[str]) -> list[str]:
    """Names with commas between, each once, all of them known.

    Raises:
        UsageError: one is not, or there is none.
    """
    names = list(dict.fromkeys(listed(text)))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        which = ", ".join(unknown) or "nothing"
        raise UsageError(f"{option} {text}: {which} is not known. Allowed: {', '.join(known)}.")
    return names


def one_of(option: str, text: str, known: Iterable[str]) -> str:
    """One of these names.

    Raises:
        UsageError: another one.
    """
    if text not in known:
        raise UsageError(f"{option} {text} is not known. Allowed: {', '.join(known)}.")
    return text


def size(option: str, text: str) -> tuple[int, int]:
    """Width and height of ``320x180``, pixels.

    Raises:
        UsageError: another text, or a side of 0.
    """
    sides = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text)
    if sides is None:
        raise UsageError(f"{option} {text} is no size. Give width and height, such as 320x180.")
    return int(sides[1]), int(sides[2])


def shares(option: str, text: str, known: list[str]) -> dict[str, float]:
    """Shares of scores, 1 in all, of NAME:WEIGHT with commas between; a weight that is left out is 1.

    Raises:
        UsageError: a score that is not known or named twice; a weight that is no number above 0.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        (name,) = chosen(name, option, known)
        if name in weights:
            raise UsageError(f"{option} {text} names {name} twice. Name each score once.")
        if re.fullmatch(r"\d*\.?\d+", weight or "1") is None or not float(weight or 1):
            raise UsageError(f"{option} {part.strip()}: {weight} is no weight. Give a number above 0.")
        weights[name] = float(weight or 1)
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def qualities(option: str, text: str) -> tuple[int, int, int]:
    """Finest, middle and coarsest quality of ``28:34:41``; one number stands for all three.

    Raises:
        UsageError: another text, or a middle one that is not in the middle.
    """
    found = re.fullmatch(r"(\d{1,3})(?::(\d{1,3}):(\d{1,3}))?", text)
    if found is None:
        raise UsageError(f"{option} {text} is not understood. Give one, or three such as 28:34:41.")
    first = int(found[1])
    if found[2] is None:
        return first, first, first
    middle, last = int(found[2]), int(found[3])
    if not (first < middle < last or first > middle > last):
        raise UsageError(f"{option} {text}: the second lies between the others. Give such as 28:34:41.")
    return first, middle, last


def one_or_two(option: str, text: str) -> tuple[float, float]:
    """Two numbers of ``0.5:8``; one stands for both.

    Raises:
        UsageError: another text, or a number that is not above 0.
    """
    found = re.fullmatch(r"(\d*\.?\d+)(?::(\d*\.?\d+))?", text)
    if found is None or not all(float(part) for part in found.groups() if part):
        raise UsageError(f"{option} {text} is not understood. Give one number above 0, or two such as 0.5:8.")
    return float(found[1]), float(found[2] or found[1])


def metrics(text: str) -> tuple[str, ...]:
    """Metrics with commas between, all of them installed.

    Raises:
        UsageError: one is not known.
        MissingProgramError: one needs what is not installed.
    """
    from kcompress.metrics import METRICS

    names = chosen(text, "--metric", METRICS)
    for name in names:
        if not METRICS[name].available():
            raise MissingProgramError(f"--metric {name} is not installed. {METRICS[name].install}")
    return tuple(names)


def cores() -> int:
    """Processor cores this process may use: the default of ``--jobs``."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def cache_folder() -> Path:
    """Where programs keep what they could compute again (XDG base directories)."""
    return (Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kcompress").absolute()
