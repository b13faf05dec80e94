"""Python interface: pictures of any kind in, the file of the command out."""

import inspect
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil
from typer.testing import CliRunner

import kcompress
from kcompress.cli import app
from kcompress.errors import InputError, UnsupportedError, UsageError
from kcompress.networks.loading import load

pytestmark = pytest.mark.encoders

PHOTO = Path(__file__).parent / "images" / "balloons-333x217.png"


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    with Pil.open(PHOTO) as picture:
        return np.asarray(picture.convert("RGB"))[:96, :128].copy()


def test_the_names_are_these():
    assert kcompress.__all__ == ["Encoded", "KcompressError", "Picture", "compare", "decode", "encode"]
    assert set(kcompress.__all__) <= set(dir(kcompress))
    assert all(getattr(kcompress, name) is not None for name in kcompress.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = kcompress.nonsense


def test_it_is_typed_and_loads_nothing():
    assert (Path(kcompress.__file__).parent / "py.typed").is_file()
    code = "import sys, kcompress; print(*(name for name in sys.modules if name.startswith('kcompress.')))"
    assert not subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"codec": "jpeg", "quality": 60}, ["-q", "60"]),
        ({"codec": "webp", "preset": "fast", "effort": 2}, ["--preset", "fast", "--effort", "2"]),
        ({"codec": "webp", "network": "shrink", "effort": 3}, ["--network", "shrink", "--effort", "3"]),
        ({"codec": "jpeg", "target_size": 6000, "network": "none"}, ["--target-size", "6000", "--network", "none"]),
        ({"codec": "avif", "effort": 0, "parameters": None, "max_side": 100}, ["--effort", "0", "--max-side", "100"]),
        ({"codec": "hevc", "effort": 0, "parameters": {"sao": 0}}, ["--effort", "0", "--param", "sao=0"]),
    ],
    ids=str,
)  # fmt: skip
def test_the_file_is_that_of_the_command(tmp_path, options, arguments):
    target = tmp_path / "out"
    target.mkdir()
    command = ["encode", str(PHOTO), "-o", f"{target}/", "--codec", options["codec"], *arguments]
    assert CliRunner().invoke(app, command).exit_code == 0
    (written,) = target.iterdir()
    encoded = kcompress.encode(PHOTO, **options)
    assert encoded.data == written.read_bytes()
    assert encoded.bpp == 8 * len(encoded.data) / (encoded.width * encoded.height)
    assert encoded.codec == options["codec"]


def test_a_picture_may_come_in_any_way(pixels):
    picture, stream = Pil.fromarray(pixels), io.BytesIO()
    picture.save(stream, "PNG")
    plain = [kcompress.encode(each, network="none", quality=70) for each in (pixels, picture, stream.getvalue())]
    assert len({each.data for each in plain}) == 1 and plain[0].quality == 70
    again = kcompress.encode(plain[0], "webp", network="none")
    assert (again.width, again.height) == (128, 96)


def test_grey_and_alpha_stay(pixels):
    grey = kcompress.decode(kcompress.encode(pixels[:, :, 0], network="none"))
    assert grey.mode == "L"
    ramp = np.broadcast_to(np.linspace(0, 255, 128).astype(np.uint8), (96, 128))
    cut = kcompress.encode(np.dstack([pixels, ramp]), "webp", network="none")
    assert kcompress.decode(cut).mode == "RGBA"
    with pytest.raises(UnsupportedError):
        kcompress.encode(np.dstack([pixels, ramp]), "jpeg", network="none")
    laid = kcompress.encode(np.dstack([pixels, ramp]), "jpeg", network="none", background=(255, 255, 255))
    assert np.asarray(kcompress.decode(laid))[:, :4].mean() > 240


def test_orientation_and_profile_of_a_pillow_picture_count(pixels):
    exif, stream = Pil.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Pil.fromarray(pixels).save(stream, "JPEG", exif=exif)
    with Pil.open(stream) as turned:
        assert kcompress.decode(kcompress.encode(turned, network="none")).size == (96, 128)
    assert kcompress.decode(kcompress.encode(Pil.fromarray(pixels).convert("CMYK"), network="none")).mode == "RGB"


@pytest.mark.parametrize("shape", [(4, 4, 2), (4, 4, 5), (0, 4, 3), (4,)], ids=str)
def test_no_picture_is_refused(shape):
    with pytest.raises(UsageError, match="no picture"):
        kcompress.encode(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("picture", [None, 3, io.BytesIO(b"x"), Pil.new("HSV", (8, 8))])
def test_other_objects_are_refused(picture):
    with pytest.raises(UsageError, match=r"no picture|mode HSV"):
        kcompress.encode(picture, network="none")


def test_other_samples_are_refused(pixels):
    for kind in (np.float32, np.uint16, bool):
        with pytest.raises(UsageError, match="no picture"):
            kcompress.encode(pixels.astype(kind))


def test_a_target_is_held_and_its_score_told(pixels):
    encoded = kcompress.encode(pixels, target=70, network="none", metrics=["psnr"])
    assert set(encoded.scores) == {"ssimulacra2", "psnr"}
    assert encoded.scores["ssimulacra2"] >= 69.7
    scores = kcompress.compare(pixels, encoded, ["ssimulacra2", "psnr"])
    assert scores == pytest.approx(dict(encoded.scores))
    assert kcompress.encode(pixels, target="psnr=30", network="none").scores["psnr"] >= 29.7


@pytest.mark.parametrize(
    "options", [{"target": 70, "quality": 50}, {"target_size": 0}, {"target_bpp": -1.0}, {"target": "beauty=3"},
                {"codec": "gif"}, {"network": "nonsense"}, {"chroma": "422"}],
    ids=str,
)  # fmt: skip
def test_nonsense_is_refused(pixels, options):
    with pytest.raises(UsageError):
        kcompress.encode(pixels, **options)


NONSENSE = {
    "codec": (5, ["jpeg"], "gif"), "quality": ("75", 75.5, True, 101), "target": ([80], "beauty=3"),
    "target_size": ("200k", 0), "target_bpp": ("1", 0, -1.0), "preset": (3, "quick"), "network": (5, "nonsense"),
    "weights": (5,), "strength": ("1", 2, -0.1), "refine": ("3", -1, 1.5), "tables": (5, None), "chroma": (420, "422"),
    "bits": ("8", 9), "effort": ("1", 1.0, 9), "sharp_yuv": ("yes",), "parameters": (5, {"a": 1}), "backend": (5, "x"),
    "max_side": (0, "10", -5), "metadata": ("exif", None, []),
    "background": ("white", (1, 2), (300, 0, 0), (1.5, 0, 0)), "frame": ("1", -1, 3), "min_saving": (2, "off", -1),
    "metrics": ("psnr", 5, ["x"]), "device": (5, "x"), "threads": (0, "2", None),
}  # fmt: skip


def test_every_argument_has_its_nonsense():
    assert {*NONSENSE} == {*inspect.signature(kcompress.encode).parameters} - {"picture"}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NONSENSE.items() for value in values])
def test_nonsense_of_any_kind_is_refused_by_name(pixels, name, value):
    with pytest.raises(UsageError, match=rf"(?i)({name}|{name.replace('_', '-')}|param|metric)\b.*\.$"):
        kcompress.encode(pixels, **({"network": "none", name: value}))


def test_numbers_of_numpy_are_numbers(pixels):
    one, other = (kcompress.encode(pixels, network="none", quality=kind(70)) for kind in (np.int64, int))
    assert one.data == other.data


@pytest.mark.parametrize("call", [
    lambda pixels: kcompress.compare(pixels, pixels, "psnr"),
    lambda pixels: kcompress.compare(pixels, pixels, 5),
    lambda pixels: kcompress.decode(kcompress.encode(pixels, network="none"), metadata="exif"),
    lambda pixels: kcompress.decode(kcompress.encode(pixels, network="none"), frame="1"),
])  # fmt: skip
def test_the_others_refuse_it_too(pixels, call):
    with pytest.raises(UsageError, match=r"(metrics|metadata|frame)=.*: give "):
        call(pixels)


@pytest.mark.parametrize(
    "options",
    [{"quality": 30}, {"chroma": "444"}, {"effort": 0}, {"tables": "learned"}, {"network": "shrink"}, {"max_side": 50},
     {"network": "shrink", "strength": 0.5}, {"target_bpp": 0.5}],
    ids=str,
)  # fmt: skip
def test_options_change_something(pixels, options):
    plain = {"network": "none"} if "strength" not in options else {"network": "shrink"}
    assert kcompress.encode(pixels, **(plain | options)).data != kcompress.encode(pixels, **plain).data


def test_half_of_what_kuchen_changes_is_made(pixels):
    half, usual, whole = (
        kcompress.encode(pixels, network="kuchen", **more).data for more in ({"strength": 0.5}, {}, {"strength": 1})
    )
    assert half == usual != whole


def test_comparing_with_itself_and_with_another_size(pixels):
    assert kcompress.compare(pixels, pixels, ["psnr"]) == {"psnr": float("inf")}
    with pytest.raises(UnsupportedError, match="one size"):
        kcompress.compare(pixels, pixels[:90], ["psnr"])


def test_a_missing_file_has_its_exit_code(tmp_path):
    with pytest.raises(kcompress.KcompressError, match=r"missing\.png") as caught:
        kcompress.encode(tmp_path / "missing.png")
    assert isinstance(caught.value, InputError) and caught.value.exit_code == 3


def test_a_network_without_a_codec_says_what_is_missing():
    with pytest.raises(UsageError, match="needs a codec"):
        load("rdo")
