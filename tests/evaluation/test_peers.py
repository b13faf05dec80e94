"""Peers: the encoders themselves, at qualities whose curves overlap the codec's."""

import io
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil
from pillow_heif import from_pillow

from kcompress.codecs import CODECS, decode, x265
from kcompress.codecs.bpg import BpgBackend
from kcompress.codecs.containers.bpg import demux
from kcompress.dataset import DataSet
from kcompress.encoding import Session
from kcompress.evaluation.ladder import peer_ladders
from kcompress.evaluation.peers import PEERS, Peer, peers_of
from kcompress.images import Image, read_canonical
from kcompress.metrics import Scorer
from kcompress.networks import NETWORKS, NONE
from kcompress.planes import LIBBPG, from_rgb
from kcompress.pool import FILTERS
from kcompress.programs import CWEBP

pytestmark = pytest.mark.encoders

EVERY = [
    pytest.param(peer, id=peer.name, marks=pytest.mark.skipif(peer.version() is None, reason=f"{peer.name} is missing"))
    for peer in PEERS.values()
]


def saved(image: Image, kind: str, **options: object) -> bytes:
    output = io.BytesIO()
    Pil.fromarray(image.pixels).save(output, kind, **options)
    return output.getvalue()


@pytest.mark.parametrize("peer", EVERY)
def test_a_better_quality_is_a_larger_file_of_the_same_picture(peer: Peer, balloons: Image, grey: Image) -> None:
    spread = np.interp((20, 50, 80, 95), (0, 100), peer.scale.ends[::-1]).astype(int)
    files = [peer.encode(balloons, int(quality)) for quality in spread]
    assert all(len(one) < len(other) for one, other in itertools.pairwise(files))
    errors = [np.abs(decode(data).pixels.astype(int) - balloons.pixels).mean() for data in files]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 3
    if peer.takes(grey):
        assert decode(peer.encode(grey, peer.scale.default)).pixels.shape == grey.pixels.shape
    else:
        assert peer.name == "jpegli"


def test_peers_are_what_their_own_libraries_write(balloons: Image) -> None:
    heif = io.BytesIO()
    from_pillow(Pil.fromarray(balloons.pixels)).save(heif, quality=45)
    assert PEERS["libheif"].encode(balloons, 45) == heif.getvalue()
    assert PEERS["libavif"].encode(balloons, 45) == saved(balloons, "AVIF", quality=45)
    turbo = saved(balloons, "JPEG", quality=45, optimize=True, progressive=True)
    assert PEERS["libjpeg-turbo"].encode(balloons, 45) == turbo
    if PEERS["cwebp"].version():
        source = saved(balloons, "PPM")
        arguments = ["-quiet", "-q", "45", "-m", "6", "-sharp_yuv", "-o", "-", "--", "-"]
        assert PEERS["cwebp"].encode(balloons, 45) == CWEBP.run(arguments, source)


@pytest.mark.parametrize("encoder", x265.STREAM_ENCODERS, ids=lambda encoder: encoder.name)
def test_at_constant_qp_x265_does_as_in_bpgenc(
    encoder: x265.StreamEncoder, balloons: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture is that of an encode which is told only what bpgenc tells x265."""
    if encoder.version() is None:
        pytest.skip(f"{encoder.name} is missing")
    monkeypatch.setitem(CODECS, "bpg", replace(CODECS["bpg"], backends=(BpgBackend(encoder),)))
    planes = from_rgb(balloons.pixels[:208, :320], "420", LIBBPG)
    told = {"qp": "30", "keyint": "1", "info": "0", "rect": "1", "amp": "1", "wpp": "0"}
    wanted = x265.decode(encoder.run(planes, 8, told))
    found = x265.decode(demux(PEERS["constant-qp"].encode(Image(balloons.pixels[:208, :320]), 30), "it").picture)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found.all, wanted.all, strict=True))
    assert PEERS["constant-qp"].version() == f"{encoder.version()} --qp"


def test_without_x265_there_is_no_constant_qp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "bpg", replace(CODECS["bpg"], backends=CODECS["bpg"].backends[:1]))
    assert PEERS["constant-qp"].version() is None


def test_no_name_means_two_things() -> None:
    assert not set(PEERS) & {NONE, "default", *NETWORKS, *FILTERS}
    assert {codec for peer in PEERS.values() for codec in peer.beside} == set(CODECS)


def test_the_plain_encoder_is_not_its_own_peer() -> None:
    assert [peer.name for peer in peers_of("jpeg", "pillow")] == ["mozjpeg", "jpegli"]
    if PEERS["jpegli"].version():
        assert [peer.name for peer in peers_of("jpeg", "jpegli")] == ["libjpeg-turbo", "mozjpeg"]
    assert [peer.name for peer in peers_of("hevc")] == ["libheif", "libavif"]
    assert [peer.name for peer in peers_of("bpg")] == ["constant-qp", "libavif"]


@pytest.mark.parametrize("name", ["libjpeg-turbo", "libavif"])
def test_curves_overlap(name: str, tmp_path: Path, lake: Image) -> None:
    Pil.fromarray(lake.pixels[100:360, 200:460]).save(tmp_path / "lake.png")
    codec, qualities = CODECS["webp"], (80, 20, 50)
    found = peer_ladders(DataSet(str(tmp_path)), ["lake.png"], codec, qualities, [PEERS[name]], "pillow")
    assert list(found) == [name]
    assert len(found[name]) == 3 and list(found[name]) == sorted(found[name])
    image = read_canonical((tmp_path / "lake.png").read_bytes(), "lake.png")
    scorer = Scorer(image.pixels, ["ssimulacra2"])
    session = Session.of(image, codec, codec.setting(), "pillow")[1]
    for ours, theirs in ((20, found[name][0]), (80, found[name][-1])):
        wanted = scorer(session.at(ours).reconstruction(image))["ssimulacra2"]
        reached = scorer(decode(PEERS[name].encode(image, theirs)).pixels)["ssimulacra2"]
        before = scorer(decode(PEERS[name].encode(image, theirs - 1)).pixels)["ssimulacra2"]
        assert before < wanted <= reached
