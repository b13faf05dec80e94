"""Second pictures and films: a note says what is left out, and XMP tells of them no more."""

import contextlib
import io
import re
import struct
import time

import numpy as np
import pillow_heif
import pytest
from handmade import boxes_without, file_of, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import smooth
from PIL import Image as Pil

from kcompress.errors import KcompressError
from kcompress.images import heif, jpeg, png, read
from kcompress.images.metadata import xmp_packet

PIXELS = smooth(64, 48)
FILM = struct.pack(">I8s12xI4sI4s100x", 24, b"ftypmp42", 8, b"moov", 108, b"mdat")


def packet(attributes: bytes = b"", elements: bytes = b"") -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"'
        b' xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
        b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:C="http://ns.google.com/photos/1.0/container/"'
        b' xmlns:Item="http://ns.google.com/photos/1.0/container/item/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
        b' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        + attributes
        + b">"
        + elements
        + b"</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


KEPT = [b' xmp:Rating="4"', b' GCamera:HdrPlusMakernote="AA"', b" dc:format='image/jpeg'"]
CLAIMED = [
    b' GCamera:MotionPhoto="1"', b" GCamera:MotionPhotoVersion='1'", b' GCamera:MicroVideoOffset="4024"',
    b' hdrgm:Version="1.0"', b' xmpNote:HasExtendedXMP="0123"',
]  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMED)
def test_claims_are_dropped_and_all_else_stays(claim: bytes) -> None:
    clean = packet(b"".join(KEPT), b"<dc:title>hdrgm:Version</dc:title>")
    assert xmp_packet(clean) == clean
    claiming = packet(KEPT[0] + claim + b"".join(KEPT[1:]), b"<dc:title>hdrgm:Version</dc:title>")
    assert xmp_packet(claiming) == clean


def test_claims_as_elements_are_dropped() -> None:
    item = b"<rdf:Seq><rdf:li><C:Item Item:Mime='image/jpeg' Item:Semantic='GainMap'/></rdf:li></rdf:Seq>"
    directory = b"<C:Directory>" + item + b"</C:Directory>"
    clean = packet(elements=b"<xmp:Rating>4</xmp:Rating>")
    for claim in (directory, b"<hdrgm:Version>1.0</hdrgm:Version>", b"<GCamera:MotionPhoto>1</GCamera:MotionPhoto>"):
        assert xmp_packet(packet(elements=claim + b"<xmp:Rating>4</xmp:Rating>")) == clean
        other = claim.replace(b"hdrgm:", b"map:").replace(b"GCamera:", b"g:").replace(b"C:", b"k:")
        renamed = packet(elements=other).replace(b"xmlns:hdrgm", b"xmlns:map").replace(b"xmlns:GCamera", b"xmlns:g")
        kept = xmp_packet(renamed.replace(b"xmlns:C=", b"xmlns:k="))
        assert kept is not None and not re.search(rb"<(map|g|k):", kept)


def test_the_film_of_a_motion_photo() -> None:
    data = file_of(PIXELS, "JPEG", xmp=packet(b' GCamera:MotionPhoto="1"')) + FILM
    image = read(data, metadata="all")
    assert image.notes == ("left out: its film of a motion photo",)
    assert image.xmp == packet()
    left_out = "its XMP was left out, which --metadata all keeps"
    assert read(data).notes == ("left out: its film of a motion photo", left_out)


def test_a_gain_map_a_depth_map_and_further_pictures_of_a_jpeg() -> None:
    plain, second = file_of(PIXELS, "JPEG"), file_of(PIXELS, "JPEG")
    iso = (
        plain[:2]
        + b"\xff\xe2"
        + struct.pack(">H", 2 + 28 + 4)
        + b"urn:iso:std:iso:ts:21496:-1\0"
        + bytes(4)
        + plain[2:]
    )
    assert read(iso + second).notes == ("left out: its gain map",)
    assert (
        read(file_of(PIXELS, "JPEG", xmp=packet(b' hdrgm:Version="1.0"')) + second).notes[0] == "left out: its gain map"
    )
    assert read(plain + second).notes == ("left out: its further pictures behind the first",)
    mpo = saved(Pil.fromarray(PIXELS), "MPO", save_all=True, append_images=[Pil.fromarray(PIXELS)])
    assert read(mpo).notes == ("left out: its further pictures (MPF)",)
    assert read(plain + b"junk").notes == read(plain).notes == ()


def heic(pictures: int = 1, **options) -> bytes:
    file = pillow_heif.HeifFile()
    for _ in range(pictures):
        file.add_from_pillow(Pil.fromarray(PIXELS))
    output = io.BytesIO()
    file.save(output, quality=60, **options)
    return output.getvalue()


def test_further_pictures_of_a_heic() -> None:
    assert read(heic()).notes == ()
    assert read(heic(2)).notes == ("left out: its 1 further picture",)
    assert read(heic(3)).notes == ("left out: its 2 further pictures",)


def test_thumbnails_and_alpha_are_no_further_pictures() -> None:
    pillow_heif.register_heif_opener()
    alpha = np.dstack([PIXELS, PIXELS[:, :, 0] // 2])
    for format in ("HEIF", "AVIF"):
        assert read(file_of(alpha, format)).notes == ()


@pytest.mark.parametrize(
    ("urn", "word"),
    [(b"urn:com:apple:photo:2020:aux:hdrgainmap", "gain map"), (b"urn:mpeg:hevc:2015:auxid:2", "depth map"),
     (b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth", "depth map"),
     (b"urn:com:apple:photo:2018:aux:portraiteffectsmatte", "mattes")],
)  # fmt: skip
def test_auxiliary_pictures_by_their_role(urn: bytes, word: str) -> None:
    alpha = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
    pillow_heif.register_heif_opener()
    data = file_of(np.dstack([PIXELS, PIXELS[:, :, 0] // 2]), "AVIF")
    still = heif.parse(data)
    assert still is not None and still.left_out() == []
    for item, properties in still.properties.items():
        still.properties[item] = [(kind, content.replace(alpha, urn)) for kind, content in properties]
    assert still.left_out() == [word]


# What kind of file it is, and how it is turned


@pytest.mark.parametrize("major", [b"mif1", b"miaf", b"msf1", b"avif", b"heic", b"xxxx"])
@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_any_brand_will_do(major: bytes, format: str) -> None:
    pillow_heif.register_heif_opener()
    data = file_of(PIXELS, format)
    assert np.array_equal(read(data[:8] + major + data[12:]).pixels, read(data).pixels)


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_xmp_does_not_turn_what_irot_and_imir_turn(format: str, orientation: int) -> None:
    pillow_heif.register_heif_opener()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="1"/></x:xmpmeta>'
    upright = file_of(PIXELS, format, xmp=xmp)
    image = read(upright.replace(b'tion="1"', b'tion="%d"' % orientation), metadata="all")
    assert (image.width, image.height) == (64, 48)
    assert np.array_equal(image.pixels, read(file_of(PIXELS, format)).pixels)
    assert image.xmp is not None and re.findall(rb'Orientation="(\d)', image.xmp) in ([b"1"], [])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_as_irot_and_imir_say(orientation: int) -> None:
    exif = Pil.Exif()
    exif[0x0112] = orientation  # from which Pillow writes irot and imir
    data = file_of(PIXELS, "AVIF", exif=exif.tobytes(), quality=95)
    image = read(data, metadata="all")
    back = {1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: lambda p: p.swapaxes(0, 1),
            6: np.rot90, 7: lambda p: np.rot90(p, 2).swapaxes(0, 1), 8: lambda p: np.rot90(p, 3)}  # fmt: skip
    assert np.abs(back[orientation](image.pixels).astype(int) - PIXELS).mean() < 6
    if image.exif is not None:
        kept = Pil.Exif()
        kept.load(image.exif)
        assert kept.get(0x0112, 1) == 1


# Hostile headers


def quick(work) -> None:
    start = time.process_time()
    with contextlib.suppress(KcompressError):
        work()
    assert time.process_time() - start < 2


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=400, derandomize=True)
@given(st.data())
def test_changed_boxes_and_markers_end_well(data) -> None:
    pillow_heif.register_heif_opener()
    format = data.draw(st.sampled_from(["AVIF", "HEIF", "JPEG", "PNG"]))
    whole = bytearray(file_of(PIXELS, format))
    end = whole.find(b"mdat") if format in ("AVIF", "HEIF") else 700
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, end - 1), st.integers(0, 255)), min_size=1, max_size=4)
    ):
        whole[place] = value

    def walk() -> None:
        still = heif.parse(bytes(whole))
        if still is not None:
            still.left_out(), still.coded(), still.bits(), still.is_avif
            still.colour("x")
        if whole.startswith(b"\xff\xd8"):
            parts = jpeg.structure(bytes(whole))
            jpeg.left_out(bytes(whole), parts, None)
        if format == "PNG":
            png.colour(bytes(whole), "x")

    quick(walk)


@settings(deadline=None, max_examples=400, derandomize=True)
@given(st.binary(max_size=300))
def test_any_boxes_end_well(rest: bytes) -> None:
    def walk() -> None:
        still = heif.parse(b"\0\0\0\x10ftypmif1\0\0\0\0" + struct.pack(">I", 12 + len(rest)) + b"meta\0\0\0\0" + rest)
        assert still is not None
        still.left_out(), still.coded(), still.colour("x")

    quick(walk)


@pytest.mark.parametrize(
    "body",
    [b"<hdrgm:a>" * 100000, b"<hdrgm:a " * 100000, b" hdrgm:a = " * 100000, b"</hdrgm:a>" + b"<hdrgm:b>" * 100000,
     b' xmlns:p%d="http://ns.adobe.com/hdr-gain-map/1.0/"', b"<hdrgm:" + b"a" * 1000000],
    ids=range(6),
)  # fmt: skip
def test_hostile_xmp_ends_soon(body: bytes) -> None:
    many = b"".join(body % number for number in range(20000)) if b"%d" in body else body
    quick(lambda: xmp_packet(packet(elements=many)))
    quick(lambda: xmp_packet(packet(attributes=many)))


def test_locations_without_bytes_do_not_last() -> None:
    items = b"".join(struct.pack(">HHH", number, 0, 65535) for number in range(6000))
    box = b"iloc" + bytes(4) + struct.pack(">HH", 0, 6000) + items
    meta = struct.pack(">I", 4 + len(box)) + box
    quick(
        lambda: heif.parse(b"\0\0\0\x10ftypmif1\0\0\0\0" + struct.pack(">I", 12 + len(meta)) + b"meta\0\0\0\0" + meta)
    )


def test_a_property_that_is_freed_is_no_longer_there() -> None:
    assert b"free" in boxes_without(file_of(PIXELS, "AVIF"), b"nclx")
