"""report.md: the tables of a bench, for a README."""

from collections.abc import Mapping, Sequence
from typing import Any

from kcompress.evaluation.comparison import counted, score_text
from kcompress.evaluation.peers import PEERS
from kcompress.networks import NONE
from kcompress.rate_distortion.bd_rate import MIN_POINTS

BD_RATE = (
    "BD-rate is the mean change of bits at equal score, over the scores that both curves reach: -5 % means files 5 % "
    "smaller at the same quality."
)

REFUSALS = (
    "A picture is refused where its curves overlap too little or do not rise. Those are the pictures a preprocessor "
    "changes most, so a mean with many refusals is milder than the truth."
)


AGAINST_PEERS = "BD-rate against each of these encoders"

TOO_FEW = f"BD-rates need {MIN_POINTS} qualities of a codec, so there are none here."


def markdown(summary: Mapping[str, Any], metrics: Sequence[str], command: str) -> str:
    """Tables of BD-rate, of size at the same quality, and of time, with the command that repeats them."""
    encoders = ", ".join(f"{e['codec']}: {e['backend']} {e['version']}" for e in summary["encoders"])
    parts = [
        f"{counted(summary['pictures'], 'picture')}, {counted(summary['points'], 'point')}. {encoders}.",
        "",
        *_bd_rates(summary, metrics),
        *_against_peers(summary, metrics),
        *_machines(summary.get("machines", ())),
        f"{same_heading(summary)}. {same_text(summary)}",
        "",
        _table(
            ["codec", "preprocessor", "quality", "size", *metrics],
            [
                [entry["codec"], entry["preprocessor"], *same_cells(row, metrics)]
                for entry in summary["comparisons"]
                for row in same_rows(entry)
            ],
        ),
        "",
        "The same side by side: megabytes and their change, mean scores and the interval of their change.",
        "",
        *_side_by_side(summary["comparisons"], metrics),
        "Wall time.",
        "",
        _table(
            ["codec", "preprocessor", "preprocessing, s a megapixel", "encoding, s a megapixel"],
            [_time_row(entry) for entry in summary["comparisons"]],
        ),
        "",
        f"Repeat it with `{command}`.",
        "",
    ]
    return "\n".join(parts)


def has_bd_rates(summary: Mapping[str, Any]) -> bool:
    """Whether any codec has enough qualities for them."""
    return any(entry["qualities"] >= MIN_POINTS for entry in summary["comparisons"]) or not summary["comparisons"]


def _bd_rates(summary: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    if not has_bd_rates(summary):
        return [TOO_FEW, ""]
    return [
        f"BD-rate against the plain codec, mean over pictures with its 95 % bootstrap interval. {BD_RATE}",
        "",
        _table(["codec", "preprocessor", *metrics], [_bd_row(entry, metrics) for entry in summary["comparisons"]]),
        "",
        REFUSALS,
        "",
    ]


def _against_peers(summary: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """Meaning of peers' rows, and the BD-rates of the others against each."""
    text = peers_text(summary)
    if not text or not has_bd_rates(summary):
        return [text, ""] if text else []
    rows = [[entry["against"], *_bd_row(entry, metrics)] for entry in summary["against_peers"]]
    return [text, "", f"{AGAINST_PEERS}.", "", _table(["against", "codec", "preprocessor", *metrics], rows), ""]


def peers_text(summary: Mapping[str, Any]) -> str:
    """Meaning of the rows that are named after peers; empty where there are none."""
    names = dict.fromkeys(entry["preprocessor"] for entry in summary["comparisons"] if entry["preprocessor"] in PEERS)
    if not names:
        return ""
    how = "take the plain codec's bits" if _at_equal_bits(summary) else "score as the plain codec's"
    return f"Encoders as their own users run them, at qualities that {how}: {', '.join(names)}."


def _machines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rates at equal accuracy, and the curves behind them (NPP paper, tables 1 and 2, figure 6)."""
    if not entries:
        return []
    names = machine_scores(entries)
    rates = [
        [entry["codec"], entry["preprocessor"], entry["machine"], str(entry["pictures"]),
         *(machine_text(entry["bd_rate_percent"].get(name)) for name in names)]
        for entry in entries
    ]  # fmt: skip
    curves = [
        [entry["codec"], entry["preprocessor"], entry["machine"], str(row["quality"]),
         *(" -> ".join(f"{value:.3f}" for value in row[name]) if name in row else "-" for name in ("bpp", *names))]
        for entry in entries
        for row in entry["curves"]
    ]  # fmt: skip
    truth = "labels" if entries[0]["labelled"] else "the model's own answers on the uncompressed pictures"
    return [
        f"BD-rate for machines, task {entries[0]['task']}, judged by {truth}: bits of the whole set at "
        f"{' and at '.join(f'equal {MACHINE_SCORES[name]}' for name in names)}, with its 95 % bootstrap interval over "
        "pictures; negative is better.",
        "",
        _table(["codec", "preprocessor", "model", "pictures", *(f"at equal {name}" for name in names)], rates),
        "",
        f"Bits per pixel, {', '.join(names)} without -> with the preprocessor.",
        "",
        _table(["codec", "preprocessor", "model", "quality", "bits per pixel", *names], curves),
        "",
    ]


MACHINE_SCORES = {
    "score": "score", "ap50": "average precision at an IoU of 0.5", "loss": "mean loss",
}  # fmt: skip
"""Meaning of the keys of an entry for machines. The score is the mean accuracy, or COCO's average precision."""


def machine_scores(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of ``MACHINE_SCORES`` that any of the entries has."""
    return [name for name in MACHINE_SCORES if any(name in entry["bd_rate_percent"] for entry in entries)]


def machine_text(entry: Mapping[str, Any] | None) -> str:
    """A BD-rate for machines for people, or why there is none."""
    if entry is None:
        return "-"
    if entry["mean"] is None:
        return f"none: {entry['reason']}"
    if entry["low"] is None:
        return f"{entry['mean']:+.1f} % (no interval: too few resamples allow one)"
    return f"{entry['mean']:+.1f} % ({entry['low']:+.1f} .. {entry['high']:+.1f})"


def bd_text(entry: Mapping[str, Any]) -> str:
    """One BD-rate for people: mean, interval, and how many pictures allowed none."""
    refused = len(entry["refused"])
    if entry["mean"] is None:
        reason = next(iter(entry["refused"].values()), "no picture could be scored")
        return f"none: {reason}"
    text = f"{entry['mean']:+.1f} % ({entry['low']:+.1f} .. {entry['high']:+.1f})"
    return f"{text}, {refused} of {refused + len(entry['pictures'])} refused" if refused else text


def _bd_row(entry: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    return [entry["codec"], entry["preprocessor"], *(bd_text(entry["bd_rate_percent"][metric]) for metric in metrics)]


def _at_equal_bits(summary: Mapping[str, Any]) -> bool:
    return any(entry["same_bits"] for entry in summary["comparisons"])


def same_heading(summary: Mapping[str, Any]) -> str:
    """Heading of the table of `same_rows`."""
    return "At the same bits per pixel" if _at_equal_bits(summary) else "At the same quality setting"


def same_text(summary: Mapping[str, Any]) -> str:
    """Explanation of that table, for people."""
    if not _at_equal_bits(summary):
        return "Change of the total size, and mean scores without -> with the preprocessor."
    return (
        "Picture by picture, the quality was searched whose file is nearest in bytes to the plain codec's. Mean "
        "quality, bits per pixel and scores without -> with the preprocessor; qualities go in steps and have ends, so "
        "the sizes of a picture differ, by at most what stands in brackets."
    )


def same_rows(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Rows of a comparison at the same bits, or else at the same quality."""
    rows: Sequence[Mapping[str, Any]] = entry["same_bits"] or entry["same_quality"]
    return rows


def same_cells(row: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """Quality, size and scores of a row for people."""
    quality, size = str(row["quality"]), f"{row['size_change_percent']:+.1f} %"
    if "bpp" in row:
        quality = f"{quality} -> {row['quality_after']:.1f}"
        before, after = row["bpp"]
        size = f"{before:.3f} -> {after:.3f} bpp ({row['largest_difference_percent']:.1f} %)"
    return [quality, size, *(" -> ".join(map(score_text, row["scores"][metric])) for metric in metrics)]


def _side_by_side(comparisons: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> list[str]:
    """A table a set of preprocessors, in the form of table 1 of the Kuchen paper."""
    parts: list[str] = []
    comparisons = [entry for entry in comparisons if same_rows(entry)]
    codecs: dict[tuple[str, ...], list[str]] = {}
    for codec in dict.fromkeys(entry["codec"] for entry in comparisons):
        names = tuple(entry["preprocessor"] for entry in comparisons if entry["codec"] == codec)
        codecs.setdefault(names, []).append(codec)
    for names, members in codecs.items():
        rows = [
            row
            for codec in members
            for row in _columns([entry for entry in comparisons if entry["codec"] == codec], metrics)
        ]
        parts += [_table(["codec", "quality", "", NONE, *names], rows), ""]
    return parts


def _columns(entries: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> list[list[str]]:
    """Table of one codec: a row for each quality and figure, a column for each preprocessor."""
    rows = []
    by_quality = [{row["quality"]: row for row in same_rows(entry)} for entry in entries]
    for quality, first in by_quality[0].items():
        each = [found.get(quality) for found in by_quality]
        label = [entries[0]["codec"], str(quality)]
        sizes = ["-" if row is None else _size_text(row) for row in each]
        rows.append([*label, "size, MB", f"{first['bytes'][0] / 1e6:.3g}", *sizes])
        for metric in metrics:
            scores = ["-" if row is None else _change_text(row, metric) for row in each]
            rows.append([*label, metric, score_text(first["scores"][metric][0]), *scores])
    return rows


def _size_text(row: Mapping[str, Any]) -> str:
    low, high = row["size_change_interval"]
    return f"{row['bytes'][1] / 1e6:.3g}, {row['size_change_percent']:+.1f} % ({low:+.1f} .. {high:+.1f})"


def _change_text(row: Mapping[str, Any], metric: str) -> str:
    text, change = score_text(row["scores"][metric][1]), row["score_change_interval"][metric]
    return text if change is None else f"{text} ({change[0]:+.2f} .. {change[1]:+.2f})"


def _time_row(entry: Mapping[str, Any]) -> list[str]:
    seconds = entry["seconds_per_megapixel"]
    return [entry["codec"], entry["preprocessor"], f"{seconds['preprocess']:.3f}", f"{seconds['encode']:.3f}"]


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
