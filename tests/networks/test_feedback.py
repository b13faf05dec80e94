"""The closed loop: what it asks of the encoder, and what its network makes of the answer."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
import torch
from scipy.ndimage import zoom

from kcompress.codecs import CODECS, decode
from kcompress.encoding import Session, encode, round_trip
from kcompress.errors import UsageError
from kcompress.images import Image, Pixels
from kcompress.inference import weights as weight_files
from kcompress.inference.engine import OnnxEngine, TorchEngine
from kcompress.inference.models import torch_module
from kcompress.inference.tiling import batch
from kcompress.metrics import Scorer
from kcompress.networks import NETWORKS
from kcompress.networks.closed_loop import ClosedLoop
from kcompress.networks.feedback import GAINS, LIMIT, LUMA, UNIT, Feedback, collapsed, doubled, halved, pyramid
from kcompress.networks.loading import load
from kcompress.networks.sharp import DRAWN, sharp_chroma
from kcompress.networks.shrink import Shrink
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.setting import Setting

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.encoders]
WEBP, KIND = CODECS["webp"], NETWORKS["feedback"]
SETTING = WEBP.setting(60)
PLANES = replace(SETTING, planes=True)


def middle(setting: Setting) -> np.ndarray:
    return np.array([[0.5]], np.float32)


def gained(*gains: float) -> Feedback:
    """With these gains alone, whatever coarseness and activity are."""
    module = Feedback().eval()
    with torch.no_grad():
        module.gains.zero_()
        module.gains[0] = torch.tensor(gains) / UNIT
    return module


def loop(network: Feedback, shown, first=lambda image, setting: image, **options) -> ClosedLoop:
    settings = {
        "network": "feedback",
        "passes": 1,
        "strength": 1.0,
        "sharp": False,
        "halo": KIND.halo,
        "multiple": KIND.multiple,
        "condition": middle,
    }

    def round_trip(image: Image, setting: Setting):
        return lambda current: shown(current, setting)

    return ClosedLoop("feedback", TorchEngine(network, "cpu"), round_trip, first, **(settings | options))


def watching(encode, asked: list[str]):
    def watched(backend, image, setting):
        asked.append(backend.name)
        return encode(backend, image, setting)

    return watched


def darker(image: Image, setting: Setting) -> Pixels:
    """A codec that keeps nine tenths of every difference to grey."""
    return np.rint(128 + 0.9 * (image.pixels.astype(float) - 128)).astype(np.uint8)


def test_details_and_what_is_coarser_add_up() -> None:
    planes, coarse = torch.rand(2, 3, 64, 96), torch.rand(2, 3, 64, 96)
    coarse = planes
    for _ in range(LUMA):
        coarse = halved(coarse)
    details = pyramid(planes, LUMA)
    assert [detail.shape[3] for detail in details] == [96, 48, 24, 12]
    whole = [*details[:-1], details[-1] + doubled(coarse)]
    assert torch.allclose(collapsed(whole), planes, atol=1e-6)


def test_doubling_is_linear_interpolation() -> None:
    plane = np.random.default_rng(0).random((6, 9))
    found = doubled(torch.from_numpy(plane)[None, None])[0, 0].numpy()
    expected = zoom(plane, 2, order=1, mode="nearest", grid_mode=True)
    assert np.allclose(found, expected)


def test_gains_of_one_give_back_all_but_the_coarsest() -> None:
    wanted, shown = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    shown = wanted - (shown - 0.5).mean(1, keepdim=True) / 2  # what is lost has no colour
    change = gained(*[1.0] * GAINS)(torch.cat([wanted, shown], 1), torch.zeros(1, 1))
    lost = wanted - shown
    coarse = lost
    for _ in range(LUMA):
        coarse = halved(coarse)
    for _ in range(LUMA):
        coarse = doubled(coarse)
    assert torch.allclose(change, lost - coarse, atol=1e-5)


@pytest.mark.parametrize("gain", range(GAINS))
def test_every_gain_has_its_own_scale_and_colour(gain: int) -> None:
    gains = [0.0] * GAINS
    gains[gain] = 1.0
    torch.manual_seed(0)
    both, module = torch.rand(1, 6, 64, 64), gained(*gains)
    change, weights = module(both, torch.zeros(1, 1)), module.to_ycc[0].view(1, 3, 1, 1)
    light = (weights * change).sum(1, keepdim=True)
    if gain < LUMA:
        details = pyramid((weights * (both[:, :3] - both[:, 3:])).sum(1, keepdim=True), LUMA)
        alone = collapsed([detail if scale == gain else 0 * detail for scale, detail in enumerate(details)])
        assert torch.allclose(change, alone.expand(-1, 3, -1, -1), atol=1e-6)
    else:
        assert float(light.detach().abs().max()) < 1e-4
        lost = torch.einsum("ij,njhw->nihw", module.to_ycc[1:], both[:, :3] - both[:, 3:]).clamp(-LIMIT, LIMIT)
        details = pyramid(halved(lost), LUMA - 1)
        alone = collapsed([detail if i == gain - LUMA else 0 * detail for i, detail in enumerate(details)])
        expected = torch.einsum("ij,njhw->nihw", module.to_rgb[:, 1:], doubled(alone))
        assert torch.allclose(change, expected, atol=1e-6)


def test_no_more_colour_is_asked_for_than_the_limit() -> None:
    module = Feedback()
    wanted = torch.full((1, 3, 64, 64), 0.5)
    lost = torch.zeros(1, 2, 64, 64)
    lost[:, :, ::8, ::8] = 0.2  # 2.5, 5 and 20 levels of the limit's 6
    colour = torch.einsum("ij,njhw->nihw", module.to_rgb[:, 1:], lost)
    changes = [
        module(torch.cat([wanted, wanted - scale * colour], 1), torch.zeros(1, 1)).detach()
        for scale in (0.05, 0.1, 0.4)
    ]
    assert torch.allclose(changes[1], 2 * changes[0], atol=1e-6)
    assert float(changes[2].abs().max()) < 1.3 * float(changes[1].abs().max())


def test_nothing_is_changed_where_nothing_was_lost(lake: Image) -> None:
    picture = torch.from_numpy(lake.pixels[:64, :64].transpose(2, 0, 1)[None] / np.float32(255))
    assert torch.count_nonzero(Feedback()(torch.cat([picture, picture], 1), torch.zeros(1, 1))) == 0


def test_luminance_matters() -> None:
    module = gained(*[0.5] * GAINS)
    with torch.no_grad():
        module.gains[3] = 1.0
    torch.manual_seed(0)
    lost = 0.05 * torch.rand(1, 3, 64, 64)
    dark, light = (
        module(torch.cat([torch.full_like(lost, level), level - lost], 1), torch.zeros(1, 1)) for level in (0.1, 0.9)
    )
    assert light.abs().mean() > 1.2 * dark.abs().mean()


@pytest.mark.parametrize("row", [1, 2])
def test_coarseness_and_activity_matter(row: int) -> None:
    module = gained(*[0.5] * GAINS)
    torch.manual_seed(0)
    both = torch.cat([torch.rand(1, 6, 32, 64), torch.full((1, 6, 32, 64), 0.5)], 2)
    both[:, 3:] += 0.05 * torch.rand(1, 3, 64, 64)
    before = [module(both, torch.tensor([[coarse]])) for coarse in (0.2, 0.8)]
    assert torch.equal(*before)
    with torch.no_grad():
        module.gains[row] = 1.0
    after = [module(both, torch.tensor([[coarse]])) for coarse in (0.2, 0.8)]
    assert not torch.allclose(after[0], before[0])
    assert torch.equal(*after) == (row == 2)
    if row == 2:  # busy above, flat below: more is given back, and less
        ratio = after[0].abs().mean((0, 1, 3)) / before[0].abs().mean((0, 1, 3))
        assert ratio[:16].mean() > 1.05 and ratio[-16:].mean() < 0.95


def test_it_reaches_no_further_than_its_halo() -> None:
    module = Feedback()
    with torch.no_grad():
        module.gains[1:] = 1.0
    reach = []
    for row, column in ((80, 80), (87, 95), (95, 91)):
        both = torch.rand(1, 6, 160, 160, requires_grad=True)
        module(both, torch.zeros(1, 1))[0, :, row, column].sum().backward()
        rows, columns = both.grad[0].abs().sum(0).nonzero().T  # type: ignore[index]
        reach += [row - int(rows.min()), int(rows.max()) - row]
        reach += [column - int(columns.min()), int(columns.max()) - column]
    assert 16 < max(reach) <= KIND.halo


def test_tiled_equals_whole(lake: Image) -> None:
    whole, *tiled = (
        loop(Feedback(), darker, passes=2, **options)(lake, SETTING).pixels
        for options in ({}, {"whole_pixels": 0, "tile_side": 64}, {"whole_pixels": 0, "tile_side": 208})
    )
    for each in tiled:
        assert (each == whole).mean() > 0.9999 and np.abs(each.astype(int) - whole).max() <= 1
    assert not np.array_equal(whole, lake.pixels)


def test_what_was_lost_comes_back_with_every_pass(lake: Image) -> None:
    network = gained(*[0.7] * GAINS)
    left = []
    for passes in (0, 1, 2, 4):
        given = loop(network, darker, passes=passes)(lake, SETTING)
        lost = torch.from_numpy((lake.pixels - darker(given, SETTING).astype(np.float32)).transpose(2, 0, 1)[None])
        left.append(float(sum(detail.abs().mean() for detail in pyramid(lost[:, :, :400, :640], LUMA))))
    assert left == sorted(left, reverse=True) and left[3] < 0.4 * left[0]


def test_the_codec_is_asked_once_a_pass_for_the_input_of_the_time(lake: Image) -> None:
    seen: list[tuple[Pixels, Setting]] = []

    def watched(image: Image, setting: Setting) -> Pixels:
        seen.append((image.pixels.copy(), setting))
        return darker(image, setting)

    shrink, lake = Shrink(), Image(lake.pixels[64:])  # no white sky
    result = loop(Feedback(), watched, shrink, passes=3)(lake, SETTING)
    assert [setting for _, setting in seen] == [SETTING] * 3
    assert np.array_equal(seen[0][0], shrink(lake, SETTING).pixels)
    assert not np.array_equal(seen[1][0], seen[0][0]) and not np.array_equal(seen[2][0], result.pixels)
    assert np.array_equal(seen[2][0], loop(Feedback(), darker, shrink, passes=2)(lake, SETTING).pixels)


def test_small_changes_add_up_between_the_passes(lake: Image) -> None:
    def a_little(image: Image, setting: Setting) -> Pixels:
        return np.where(
            np.indices(image.pixels.shape).sum(0) % 8 < 4, lake.pixels, lake.pixels - np.minimum(1, lake.pixels)
        )

    gains = [0.2] * GAINS  # a fifth of a level a pass, which rounding alone would lose
    once, often = (loop(gained(*gains), a_little, passes=passes)(lake, SETTING).pixels for passes in (1, 6))
    assert np.array_equal(once, lake.pixels) and not np.array_equal(often, lake.pixels)


def test_the_first_input_has_sharp_chroma_where_planes_are_taken(lake: Image) -> None:
    seen = []

    def watched(image: Image, setting: Setting) -> Pixels:
        seen.append(image.pixels.copy())
        return image.pixels

    transparent = replace(lake, alpha=lake.pixels[:, :, 0])
    for image, setting in ((lake, PLANES), (lake, SETTING), (transparent, PLANES)):
        loop(Feedback(), watched, sharp=True)(image, setting)
    loop(Feedback(), watched)(lake, PLANES)
    change = 255 * sharp_chroma(batch(lake.pixels[:400, :640]))[0].transpose(1, 2, 0)
    expected = np.clip(np.rint(lake.pixels[:400, :640] + change), 0, 255)
    assert (seen[0][:384, :624] == expected[:384, :624]).mean() > 0.99
    assert all(np.array_equal(each, lake.pixels) for each in seen[1:])


def test_what_rounding_took_is_handed_on_with_the_pixels(lake: Image) -> None:
    """To the codec in every pass and with the result, so that changes of less than half a level are made."""
    seen: list[np.ndarray] = []

    def watched(image: Image, setting: Setting) -> Pixels:
        assert image.remainder is not None
        seen.append(image.pixels + image.remainder.astype(float))
        return darker(image, setting)

    made = loop(gained(*[0.3] * GAINS), watched, passes=2, sharp=True)(lake, PLANES)
    halfway = loop(gained(*[0.3] * GAINS), watched, passes=2, sharp=True, strength=0.5)(lake, PLANES)
    assert made.remainder is not None and halfway.remainder is not None
    levels = made.pixels + made.remainder.astype(float)
    inside = (levels > 0) & (levels < 255)
    assert np.abs(made.remainder[inside]).max() <= 0.5 and np.abs(made.remainder).max() > 1
    assert 0 < np.abs(levels - seen[1]).mean() < np.abs(levels - lake.pixels).mean()
    assert np.allclose(halfway.pixels + halfway.remainder.astype(float), (levels + lake.pixels) / 2, atol=0.02)
    assert loop(Feedback(), darker)(lake, SETTING).remainder is None
    assert made.with_pixels(made.pixels).remainder is None


def test_strength_lies_between_the_picture_and_the_result(lake: Image) -> None:
    results = [
        loop(Feedback(), darker, strength=strength)(lake, SETTING).pixels.astype(int) for strength in (0, 0.5, 1)
    ]
    assert np.array_equal(results[0], lake.pixels)
    assert np.abs(results[1] - (results[0] + results[2]) / 2).max() <= 0.5


def test_the_weights_say_what_share_of_the_change_serves(tmp_path: Path, lake: Image) -> None:
    changed = []
    for share, strength in ((1, 0.5), (0.5, None), (None, 0.5), (0.8, 0.5), (0.8, None), (None, 0.8), (None, None)):
        recipe = json.dumps({"passes": 1} | ({} if share is None else {"strength": share}))
        metadata = {"network": "feedback", "arguments": "{}", "codec": "webp", "recipe": recipe}
        path = weight_files.write_tensors(tmp_path / "mine", Feedback(), metadata, {}).path
        made = load("feedback", device="cpu", weights=path, codec="webp", strength=strength,
                    round_trip=lambda image, setting: lambda current: darker(current, setting))  # fmt: skip
        assert made is not None
        changed.append(made(lake, SETTING).pixels)
    assert not np.array_equal(changed[0], lake.pixels)
    halves, usual, all_of_it = changed[:4], changed[4:6], changed[6]
    assert all(np.array_equal(each, halves[0]) for each in halves) and np.array_equal(*usual)
    assert not np.array_equal(halves[0], usual[0]) and not np.array_equal(usual[0], all_of_it)


def test_coloured_text_is_not_harmed() -> None:
    """Half the resolution of colours cannot hold it, and neither can the range of levels what makes up for it."""
    page = PIL.Image.new("RGB", (384, 256), "white")
    draw = PIL.ImageDraw.Draw(page)
    for number in range(20):
        colour = ["#c80000", "#0000c8", "#008200", "#000000", "#78008c"][number % 5]
        draw.text((6, 12 * number + 4), "quick brown foxes jump over 0123456789", colour)
    image = Image(np.asarray(page).copy())
    network = load("feedback", device="cpu", codec="webp", round_trip=round_trip(WEBP))
    for quality in (60, 80):
        setting = WEBP.setting(quality)
        judge = RateDistortionCost(*Session.of(image, WEBP, setting, "auto"), {"ssimulacra2": 0.5, "iw-ssim": 0.5})
        assert judge(encode(image, WEBP, setting, network).data).cost < 0.01


def test_screen_content_stays_as_it_is(lake: Image) -> None:
    """What is drawn is left alone beside a photograph, and alone it is not even encoded."""
    asked = 0

    def watched(image: Image, setting: Setting) -> Pixels:
        nonlocal asked
        asked += 1
        return darker(image, setting)

    page = np.full((160, 320, 3), 220, np.uint8)
    page[8::16, 4:300] = page[:, 4::23] = (180, 40, 60)
    both = np.concatenate([page, lake.pixels[160:320, :320]])
    changed = loop(Feedback(), watched, Shrink(), passes=2)(Image(both), SETTING).pixels
    assert np.array_equal(changed[:128], both[:128]) and asked == 2
    alone = loop(Feedback(), watched, Shrink(), passes=2)(Image(lake.pixels[160:320, :320]), SETTING).pixels
    assert (changed[208:] == alone[48:]).mean() > 0.99
    assert np.array_equal(loop(Feedback(), watched, Shrink(), passes=2)(Image(page), SETTING).pixels, page)
    assert asked == 4
    made = loop(Feedback(), watched, passes=2, sharp=True)(Image(page), PLANES)
    less = 255 * sharp_chroma(batch(page), DRAWN)[0].transpose(1, 2, 0)
    assert made.remainder is not None and np.allclose(made.pixels + made.remainder.astype(float), page + less, atol=0.1)
    assert np.abs(less - 255 * sharp_chroma(batch(page))[0].transpose(1, 2, 0)).max() > 5 and asked == 4


def test_the_same_quality_scores_about_the_same_and_more_scores_more(lake: Image) -> None:
    image = Image(np.ascontiguousarray(lake.pixels[100:356, 200:456]))
    scorer = Scorer(image.pixels, ["ssimulacra2"])
    network = load("feedback", device="cpu", codec="webp", round_trip=round_trip(WEBP))
    files = {
        used: [encode(image, WEBP, WEBP.setting(quality), used).data for quality in (30, 45, 60, 75, 90)]
        for used in (None, network)
    }
    plain, ours = ([scorer(decode(file).pixels)["ssimulacra2"] for file in each] for each in files.values())
    assert np.abs(np.subtract(ours, plain)).max() < 2.5
    assert (np.diff(ours) > 1).all() and (np.diff([len(file) for file in files[network]]) > 0).all()


def test_grey_stays_grey(grey: Image) -> None:
    result = loop(Feedback(), darker)(grey, SETTING)
    assert result.grey and (result.pixels == result.pixels[:, :, :1]).all()
    assert not np.array_equal(result.pixels, grey.pixels)


@pytest.mark.parametrize("name", ["webp", "hevc", "avif"])
def test_round_trip_is_what_viewers_show(name: str, balloons: Image) -> None:
    codec = CODECS[name]
    setting = codec.setting(codec.quality.default, effort=codec.quick_effort)
    expected = decode(encode(balloons, codec, setting, None).data).pixels
    assert np.array_equal(round_trip(codec)(balloons, setting)(balloons), expected)
    if name == "hevc":  # a bare stream has even sides
        raw = codec.setting(codec.quality.default, raw=True)
        assert round_trip(codec)(balloons, raw)(balloons).shape == balloons.pixels.shape


def test_round_trip_takes_no_more_effort_than_it_needs(balloons: Image) -> None:
    assert WEBP.quick_effort is not None and WEBP.quick_effort < WEBP.effort.default
    slow, quick, less = (
        round_trip(WEBP)(balloons, WEBP.setting(60, effort=effort))(balloons)
        for effort in (WEBP.effort.default, WEBP.quick_effort, 0)
    )
    assert np.array_equal(slow, quick) and not np.array_equal(quick, less)


def test_round_trip_asks_the_backend_that_is_named(monkeypatch: pytest.MonkeyPatch, balloons: Image) -> None:
    asked = []
    for backend in WEBP.backends:
        monkeypatch.setattr(type(backend), "encode", watching(type(backend).encode, asked))
    round_trip(WEBP, "pillow")(balloons, SETTING)(balloons)
    assert asked == ["pillow"]


def test_it_needs_an_encoder_to_watch() -> None:
    with pytest.raises(UsageError, match="--network feedback watches an encoder"):
        load("feedback", device="cpu", codec="webp")


@pytest.mark.parametrize("name", ["webp", "hevc", "bpg"])
def test_those_that_ship(name: str, lake: Image) -> None:
    codec = CODECS[name]
    network = load("feedback", device="cpu", codec=name, round_trip=round_trip(codec))
    assert network is not None and network.conditioned
    assert network.network == "feedback" and network.name == f"feedback-{'webp' if name == 'webp' else 'hevc'}"
    image = Image(np.ascontiguousarray(lake.pixels[100:260, 200:424]))
    setting = codec.setting(codec.quality.default)
    changed = network(image, setting)
    difference = np.abs(changed.pixels.astype(int) - image.pixels)
    assert 0.1 < difference.mean() < 6 and changed.notes == ()
    passes = 0

    opened = 0

    def counted(image: Image, setting: Setting) -> Callable[[Image], Pixels]:
        nonlocal opened
        opened += 1

        def coded(image: Image) -> Pixels:
            nonlocal passes
            passes += 1
            return image.pixels

        return coded

    again = load("feedback", device="cpu", codec=name, round_trip=counted)
    assert again is not None
    again(image, setting)
    assert (opened, passes) == (1, 2)  # the encoder is resolved once a picture
    if name == "hevc":
        four = network(image, codec.setting(codec.quality.default, "444"))
        assert four.notes == ("feedback-hevc was trained for 4:2:0; 444 is unlike it",)
    finest = codec.setting(codec.quality.finest)
    assert "beyond them" in network(image, finest).notes[0]


def test_weights_that_are_borrowed_from_another_scale_say_so(lake: Image) -> None:
    codec, image = CODECS["avif"], Image(np.ascontiguousarray(lake.pixels[100:164, 200:264]))
    weights = weight_files.folder() / "feedback-hevc.safetensors"
    network = load("feedback", device="cpu", weights=weights, codec="avif", round_trip=round_trip(codec))
    assert network is not None
    for quality, told in ((40, ", not for avif"), (90, "; avif 90 is finer")):
        assert network(image, codec.setting(quality, effort=0)).notes == (
            f"feedback-hevc was trained for hevc 18..42{told}",
        )


@pytest.mark.parametrize("name", ["feedback-webp", "feedback-hevc"])
def test_the_graph_is_that_of_the_module(name: str) -> None:
    weights = weight_files.open_weights(weight_files.folder() / f"{name}.safetensors", "feedback")
    both = np.random.default_rng(0).random((1, 6, 64, 96), np.float32)
    found = [
        engine(both, np.array([[0.4]], np.float32))
        for engine in (OnnxEngine(weights.onnx), TorchEngine(torch_module(weights, Feedback), "cpu"))
    ]
    assert np.allclose(*found, atol=1e-6)


def test_bpg_takes_its_own_weights_and_those_of_hevc(tmp_path: Path) -> None:
    metadata = {"network": "feedback", "arguments": "{}", "recipe": '{"passes": 2, "coarseness": [0.2, 0.8]}'}
    for learned, codec, fits in (("bpg", "bpg", True), ("hevc", "bpg", True), ("bpg", "hevc", False)):
        weights = weight_files.write_tensors(tmp_path / learned, Feedback(), {**metadata, "codec": learned}, {})
        options = {"device": "cpu", "weights": weights.path, "codec": codec, "round_trip": round_trip(CODECS[codec])}
        if fits:
            assert isinstance(load("feedback", **options), ClosedLoop)
            continue
        with pytest.raises(UsageError, match=f"are for {learned}, not for {codec}"):
            load("feedback", **options)


def test_only_where_there_are_weights() -> None:
    with pytest.raises(UsageError, match="no weights for jpeg: there are feedback-hevc, feedback-webp"):
        load("feedback", device="cpu", codec="jpeg", round_trip=round_trip(CODECS["jpeg"]))
