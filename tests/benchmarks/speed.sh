#!/usr/bin/env bash
# Start-up, encode time and memory, each beside what it is compared with, in one run.
# Needs hyperfine, GNU time and cwebp; run it with kcompress's virtual environment active.
set -euo pipefail
photo="$(dirname "$0")/../images/lake.png"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

python - "$photo" "$work" <<'PYTHON'
import sys
import numpy as np
from PIL import Image

photo, work = sys.argv[1:]
lake = Image.open(photo).convert("RGB")
lake.resize((1920, 1080), Image.Resampling.LANCZOS).save(f"{work}/1080p.png")
tiled = np.tile(np.asarray(lake), (25, 16, 1))[:10000, :10000]  # 100 megapixels
Image.fromarray(np.ascontiguousarray(tiled)).save(f"{work}/100mp.png", compress_level=1)
PYTHON

echo "== start-up: kcompress --help against importing typer and rich"
hyperfine --warmup 3 --runs 15 'python -c "import typer, rich"' 'kcompress --help'

echo "== 1920x1080 PNG to WebP: kcompress against plain cwebp"
hyperfine --warmup 2 --runs 10 \
  "cwebp -quiet -q 75 $work/1080p.png -o $work/plain.webp" \
  "kcompress encode $work/1080p.png -o $work/none.webp -q 75 --network none --force" \
  "kcompress encode $work/1080p.png -o $work/shrink.webp -q 75 --network shrink --force" \
  "kcompress encode $work/1080p.png -o $work/feedback.webp -q 75 --network feedback --force" \
  "kcompress encode $work/1080p.png -o $work/kuchen.webp -q 75 --network kuchen --force"

echo "== 1920x1080 PNG to JPEG"
hyperfine --warmup 2 --runs 10 \
  "kcompress encode $work/1080p.png -o $work/none.jpg --network none --force" \
  "kcompress encode $work/1080p.png -o $work/rdo.jpg --network rdo --force"

echo "== rdo alone, 1920x1080"
python - "$work/1080p.png" <<'PYTHON'
import sys
import time
from pathlib import Path
from kcompress.codecs import CODECS
from kcompress.images import read
from kcompress.networks import load

image, setting = read(Path(sys.argv[1]).read_bytes()), CODECS["jpeg"].setting(75)
megapixels = image.width * image.height / 1e6
for threads in (1, 2):
    network, seconds = load("rdo", device="cpu", codec="jpeg", threads=threads), []
    for _ in range(8):
        start = time.perf_counter()
        network(image, setting)
        seconds.append(time.perf_counter() - start)
    print(f"{threads} threads: {min(seconds):.3f} s, {megapixels / min(seconds):.1f} megapixels a second")
PYTHON

echo "== 1920x1080 PNG to HEVC"
hyperfine --warmup 1 --runs 5 \
  "kcompress encode $work/1080p.png -o $work/none.heic --codec hevc --network none --force" \
  "kcompress encode $work/1080p.png -o $work/feedback.heic --codec hevc --network feedback --force"

echo "== 100 megapixels: peak memory of kcompress with a network"
for options in "--codec jpeg --network rdo" "--codec jpeg --network kuchen" "--codec jpeg --network kuchen --backend pillow" "--codec webp --network shrink" "--codec webp --network feedback"; do
  # shellcheck disable=SC2086
  command time -f "$options: %M kB, %e s" kcompress encode "$work/100mp.png" -o "$work/large/" --force $options
done
