"""How well targets are held: every codec, several scores, a folder of pictures; a table in Markdown on stdout.

``python tests/benchmarks/targets.py PHOTOS [--max-side 640] [--scores 60,75,85] [--codecs webp]``
"""

import argparse
import json
import tempfile
from statistics import mean

from typer.testing import CliRunner

from kcompress.cli import app
from kcompress.codecs import CODECS


def results(photos: str, codec: str, score: str, max_side: str) -> list[dict[str, object]]:
    """Lines of ``--json``, without the summary."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["encode", photos, "-o", folder, "-c", codec, "--target", score, "--max-side", max_side, "--json"]
        lines = [json.loads(line) for line in CliRunner().invoke(app, [*arguments, "--jobs", "1"]).stdout.splitlines()]
    return [line for line in lines if line["type"] == "encoded"]


def main() -> None:
    """Print a row for each codec and score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos")
    parser.add_argument("--max-side", default="640")
    parser.add_argument("--scores", default="60,75,85")
    parser.add_argument("--codecs", default=",".join(CODECS))
    given = parser.parse_args()
    print("| codec | target | pictures | held | furthest below | furthest above | mean tries | most |", flush=True)
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for codec in given.codecs.split(","):
        for score in given.scores.split(","):
            lines = results(given.photos, codec, score, given.max_side)
            off = [line["reached"] - float(score) for line in lines]
            tries = [line["tries"] for line in lines]
            held = sum(each >= -0.3 for each in off)
            print(
                f"| {codec} | {score} | {len(lines)} | {held} | {min(off):+.2f} | {max(off):+.2f} | {mean(tries):.1f} "
                f"| {max(tries)} |", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
