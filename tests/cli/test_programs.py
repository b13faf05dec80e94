"""External encoders: exactly how they are called, and what happens when they fail."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import EMBEDDED, smooth
from PIL import Image, ImageCms

from kcompress.codecs import x265
from kcompress.codecs.containers import bpg
from kcompress.codecs.containers.jpeg import with_best_scans
from kcompress.planes import grey_planes

GOLDEN = Path(__file__).parent.parent / "golden" / "bpg"


def canned(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("options, expected", [
    ([], "-quality 75 -sample 2x2 -baseline"),
    (["-q", "60", "--effort", "1"], "-quality 60 -sample 2x2 -optimize -baseline -progressive"),
    (["-q", "0", "--chroma", "444", "--effort", "0"], "-quality 0 -sample 1x1 -optimize -baseline"),
])  # fmt: skip
def test_cjpeg(run, fake, small, folder, options, expected):
    cjpeg = fake("cjpeg", answer=canned("JPEG"))
    (line,) = run("encode", "small.png", "--json", "--tables", "standard", *options).lines
    assert (line["backend"], line["version"]) == ("cjpeg", "version 1.2.3")
    (call,) = cjpeg.calls
    assert " ".join(call["argv"]) == expected
    assert bytes.fromhex(call["stdin"]).startswith(b"P6\n96 64\n255\n")
    finished = canned("JPEG") if "--effort" in options else with_best_scans(canned("JPEG"))
    assert (folder / "small.jpg").read_bytes() == finished


def test_cjpeg_reads_other_tables_from_a_file(run, fake, small):
    cjpeg = fake("cjpeg", answer=canned("JPEG"))
    run("encode", "small.png", "-q", "60")
    (call,) = cjpeg.calls
    # At quality 50 it takes them as they are.
    assert call["argv"][:3] == ["-quality", "50", "-qtables"]
    assert call["argv"][4:] == ["-sample", "2x2", "-baseline"]


@pytest.mark.parametrize("options, expected", [
    (["-n", "none"], "-quality 75 -sample 2x2 -optimize -baseline -progressive"),
    (["-n", "none", "--effort", "0"], "-revert -quality 75 -sample 2x2 -optimize -baseline"),
    (["-n", "none", "--tables", "standard"], "-revert -quality 75 -sample 2x2 -baseline"),
])  # fmt: skip
def test_mozjpegs_cjpeg_is_itself_where_no_tables_are_chosen(run, fake, small, options, expected):
    cjpeg = fake("cjpeg", answer=canned("JPEG"), version="mozjpeg version 4.1.1 (build 20230101)")
    (line,) = run("encode", "small.png", "--json", *options).lines
    assert (line["version"], line["tables"]) == (
        "mozjpeg version 4.1.1",
        "standard" if "--tables" in options else "own",
    )
    assert " ".join(cjpeg.calls[-1]["argv"]) == expected


def test_mozjpegs_cjpeg_rounds_by_learned_tables(run, fake, small):
    """As libjpeg-turbo's: behind rdo its trellis makes files worse."""
    cjpeg = fake("cjpeg", answer=canned("JPEG"), version="mozjpeg version 4.1.1 (build 20230101)")
    (line,) = run("encode", "small.png", "--json").lines
    assert (line["network"], line["tables"]) == ("rdo-jpeg", "learned")
    assert cjpeg.calls[0]["argv"][:4] == ["-revert", "-quality", "50", "-qtables"]


def test_cwebp(run, fake, small, folder):
    cwebp = fake("cwebp", answer=canned("WEBP"))
    run("encode", "small.png", "--codec", "webp", "-q", "33", "--effort", "5", "--sharp-yuv", "--network", "none")
    (call,) = cwebp.calls
    assert " ".join(call["argv"]) == "-quiet -q 33 -m 5 -sharp_yuv -o - -- -"
    assert (folder / "small.webp").read_bytes() == canned("WEBP")


@pytest.mark.parametrize("version, options, expected", [
    ("Version: 1.2.1 (aom)", [], "--yuv 420 --cicp 1/13/6 --range full --speed 6 --jobs 8 --qcolor 60 --qalpha 60 -o"),
    ("Version: 0.11.1 (aom)", ["-q", "75", "--chroma", "444", "--effort", "10"],
     "--yuv 444 --cicp 1/13/6 --range full --speed 0 --jobs 8 --min 0 --max 63 --minalpha 0 --maxalpha 63 "
     "-a end-usage=q -a cq-level=16 -a color:tune=ssim -o"),
])  # fmt: skip
@pytest.mark.parametrize("bits", ["8", "10"])
def test_avifenc(run, fake, small, folder, bits, version, options, expected):
    avifenc = fake("avifenc", answer=canned("AVIF"), version=version)
    options = ["--bits", bits, "--backend", "avifenc", *options]
    (line,) = run("encode", "small.png", "--codec", "avif", "--json", *options).lines
    assert (line["backend"], line["version"], line["bits"]) == ("avifenc", version.split()[1], int(bits))
    (call,) = avifenc.calls
    *told, target, source = call["argv"]
    assert " ".join(told) == f"--codec aom --depth {bits} {expected}"
    assert (Path(target).name, Path(source).name) == ("picture.avif", "picture.png")
    assert not Path(source).parent.exists()
    assert (folder / "small.avif").read_bytes() == canned("AVIF")


def test_x265(run, fake, photo, folder):
    run("encode", "photo.png", "-o", "real.hevc", "--backend", "ffmpeg")
    x265 = fake("x265", answer=(folder / "real.hevc").read_bytes(), version="x265 [info]: HEVC encoder version 9.9")
    (line,) = run(
        "encode", "photo.png", "--codec", "hevc", "-q", "30", "--effort", "2", "--network", "none", "--json"
    ).lines
    assert (line["backend"], line["version"]) == ("x265", "9.9")
    (call,) = x265.calls
    assert " ".join(call["argv"]) == (
        "--input - --input-res 336x224 --input-csp i420 --input-depth 8 --output-depth 8 --fps 25 --frames 1 "
        "--preset 2 --tune ssim --log-level error --no-progress --crf 31.8333 --keyint 1 --no-info --no-wpp "
        "--rect --amp --range full --colorprim bt709 --transfer iec61966-2-1 --colormatrix smpte170m --chromaloc 1 "
        "--min-cu-size 8 --hash 1 --aq-mode 1 --aq-strength 0.9 --cbqpoffs -1 --crqpoffs -1 --psy-rd 0 --psy-rdoq 2 "
        "--sao --scaling-list default --tskip --tu-intra-depth 4 --output -"
    )
    run("encode", "photo.png", "--codec", "bpg", "--network", "none", "--param", "tskip=0", "--bits", "10", expect=6)
    argv = " ".join(x265.calls[1]["argv"])
    assert "--input-depth 10 --output-depth 10" in argv and "--no-tskip" in argv and "--scaling-list" not in argv


def test_bpgenc_takes_no_parameters_of_x265(run, fake, small, folder):
    bpgenc = fake("bpgenc", answer=(GOLDEN / "ycbcr420-q29.bpg").read_bytes())
    arguments = ["encode", "small.png", "--codec", "bpg", "--network", "none", "--param", "aq-mode=0", "--json"]
    ended = run(*arguments, "--backend", "bpgenc", expect=2)
    assert "--param: the backend bpgenc has no parameters. Leave one out." in ended.stdout.decode()
    (line,) = run(*arguments).lines
    assert line["backend"] == "ffmpeg" and line["parameters"]["aq-mode"] == "0"
    assert bpgenc.calls == []
    (line,) = run(
        "encode", "small.png", "--codec", "bpg", "--bits", "10", "--network", "none", "--json", "-o", "ten.bpg"
    ).lines
    assert "-b 10" in " ".join(bpgenc.calls[0]["argv"])
    assert (line["backend"], line["bits"], line["parameters"]) == ("bpgenc", 10, {})


def test_bpgenc_and_what_becomes_of_its_file(run, fake, folder):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(GOLDEN / "photo.png") as picture:
        picture.save(folder / "photo.png", icc_profile=profile)
    golden = (GOLDEN / "ycbcr420-q29.bpg").read_bytes()
    bpgenc = fake("bpgenc", answer=golden, version="BPG Image Encoder version 0.9.8")
    (line,) = run(
        "encode", "photo.png", "--codec", "bpg", "-q", "31", "--effort", "3", "--network", "none", "--json"
    ).lines
    assert (line["backend"], line["version"]) == ("bpgenc", "0.9.8")
    (call,) = bpgenc.calls
    *options, target, source = call["argv"]
    assert " ".join(options) == "-q 31 -f 420 -m 3 -o"
    assert (Path(target).name, Path(source).name) == ("picture.bpg", "picture.png")
    assert not Path(source).parent.exists()

    ours = bpg.demux((folder / "photo.bpg").read_bytes(), "ours")
    theirs = bpg.demux(golden, "theirs")
    assert ours == replace(theirs, extensions=((bpg.ICC, profile),))
    (folder / "cut.bpg").write_bytes((folder / "photo.bpg").read_bytes()[:-1])
    run("decode", "cut.bpg", expect=3)  # its length is in it


CODECS = {"cjpeg": "jpeg", "cwebp": "webp", "x265": "hevc", "bpgenc": "bpg", "avifenc": "avif"}
LATER = {"avifenc": ["--backend", "avifenc"]}  # others go before it
CUT = {
    "cjpeg": canned("JPEG")[:-5],
    "cwebp": canned("WEBP")[:-5],
    "x265": b"\0\0\0\1\x42\1\0\0\0\1\x44\1\0\0\0\1\x28\1",  # units of the right kinds with nothing in them
    "bpgenc": (GOLDEN / "ycbcr420-q29.bpg").read_bytes()[:20],
    "avifenc": canned("AVIF")[:-1],
}
# What x265 writes of small.png, 96x64.
HALF_WRITTEN = x265.FfmpegX265().run(grey_planes(smooth(96, 64)[:, :, 0]), 1, {"qp": "20", "keyint": "1", "info": "0"})
program = pytest.mark.parametrize("name", CODECS)


@program
@pytest.mark.parametrize("answer", [None, b"", b"rubbish " * 99, "cut", "half"])
def test_a_program_that_ends_well_without_a_picture(run, fake, small, folder, name, answer):
    if answer == "cut":
        answer = CUT[name]
    elif answer == "half":  # a real answer
        answer = {"x265": HALF_WRITTEN, "bpgenc": (GOLDEN / "ycbcr420-q29.bpg").read_bytes()}.get(name, CUT[name])
        answer = answer[: len(answer) // 2]
    fake(name, answer=answer)
    ended = run("encode", "small.png", "--codec", CODECS[name], *LATER.get(name, []), expect=6)
    assert f"kcompress: {name} ended well but wrote no " in ended.stderr
    assert [path.name for path in folder.iterdir()] == ["small.png"]


@program
def test_a_program_that_fails(run, fake, small, folder, name):
    fake(name, code=3, complaint="one\ntwo\nthe disk \x1b[31mis on fire")
    ended = run("encode", "small.png", "--codec", CODECS[name], *LATER.get(name, []), expect=6)
    assert f"kcompress: {name} failed with code 3: " in ended.stderr
    assert "the disk \\x1b[31mis on fire" in ended.stderr and "--backend" in ended.stderr
    assert [path.name for path in folder.iterdir()] == ["small.png"]


@program
def test_a_program_that_hangs(run, fake, small, folder, name):
    hanging = fake(name, slow=0, deaf=True)
    ended = run("encode", "small.png", "--codec", CODECS[name], *LATER.get(name, []), expect=8, KCOMPRESS_TIMEOUT="1")
    assert f"kcompress: {name} was stopped after 1 seconds" in ended.stderr and "KCOMPRESS_TIMEOUT" in ended.stderr
    assert not Path(f"/proc/{hanging.calls[0]['pid']}").exists()
    assert [path.name for path in folder.iterdir()] == ["small.png"]


@program
def test_a_program_that_is_missing(run, no_programs, small, folder, name):
    ended = run("encode", "small.png", "--codec", CODECS[name], "--backend", name, expect=7)
    assert f"--backend {name} is not installed. " in ended.stderr
    assert "install" in ended.stderr or "Build" in ended.stderr
    (line,) = run("encode", "small.png", "--codec", CODECS[name], "--json").lines
    assert line["backend"] in EMBEDDED


def test_a_program_that_cannot_be_started(run, tmp_path, small):
    programs = tmp_path / "broken"
    programs.mkdir()
    (programs / "cjpeg").write_bytes(b"\x7fELF is no program")
    (programs / "cjpeg").chmod(0o755)
    ended = run("encode", "small.png", expect=6, PATH=str(programs))
    assert "cjpeg cannot be started" in ended.stderr


def test_one_that_fails_in_a_batch(run, fake, album):
    fake("cjpeg", code=1)
    ended = run("encode", "album", "--json", expect=1)
    assert [line.get("exit_code") for line in ended.lines] == [6, 6, 6, 6, None]
