"""``--in-place``, ``--backup`` and ``--keep-times``: nothing is lost, nothing is touched for nothing."""

import errno
import os
import shutil
import stat

import pytest
from PIL import Image

from kcompress import storage
from kcompress.errors import OutputError


@pytest.fixture
def shots(photo, folder):
    """Two JPEGs with EXIF in a folder with a subfolder, a WebP, a PNG, and a PNG that is called JPEG."""
    place = folder / "shots"
    (place / "deep").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010F] = "maker"
    with Image.open(photo) as picture:
        picture.save(place / "fine.jpg", quality=97, exif=exif)
        picture.save(place / "deep" / "coarse.jpg", quality=40, exif=exif)
        picture.save(place / "one.webp", quality=97)
        picture.save(place / "left.png")
    for path in place.rglob("*.jpg"):
        os.utime(path, ns=(10**18, 10**18))
        path.chmod(0o640)
    return place


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_replaced_where_they_get_smaller(run, shots, folder):
    before = contents(shots)
    lines = run("encode", "shots", "--in-place", "--json").lines[:-1]
    after = contents(shots)
    assert {line["input"]: line["codec"] for line in lines} == {
        "shots/fine.jpg": "jpeg", "shots/one.webp": "webp", "shots/deep/coarse.jpg": "jpeg"
    }  # fmt: skip
    assert all(line["input"] == line["output"] for line in lines)
    assert after["left.png"] == before["left.png"] and set(after) == set(before)
    assert all(len(after[name]) < len(before[name]) for name in ("fine.jpg", "one.webp", "deep/coarse.jpg"))
    assert all(Image.open(path).getexif()[0x010F] == "maker" for path in shots.rglob("*.jpg"))
    assert stat.S_IMODE((shots / "fine.jpg").stat().st_mode) == 0o640
    assert (shots / "fine.jpg").stat().st_mtime_ns != 10**18


def test_a_second_time_nothing_changes(run, shots):
    run("encode", "shots", "--in-place")
    first, times = contents(shots), {path: path.stat().st_mtime_ns for path in shots.rglob("*")}
    run("encode", "shots", "--in-place")
    assert contents(shots) == first
    assert {path: path.stat().st_mtime_ns for path in shots.rglob("*")} == times


def test_times_and_originals_are_kept(run, shots, folder):
    before = contents(shots)
    run("encode", "shots", "--in-place", "--keep-times", "--backup", "old")
    assert (shots / "fine.jpg").stat().st_mtime_ns == 10**18
    kept = contents(folder / "old")
    assert kept == {name: before[name] for name in ("fine.jpg", "one.webp", "deep/coarse.jpg")}
    assert (folder / "old" / "fine.jpg").stat().st_mtime_ns == 10**18


def test_without_its_backup_nothing_is_replaced(run, shots, folder):
    (folder / "old").mkdir()
    (folder / "old" / "fine.jpg").write_text("precious")
    before = (shots / "fine.jpg").read_bytes()
    assert "exists" in run("encode", "shots/fine.jpg", "--in-place", "--backup", "old", expect=5).stderr
    assert (shots / "fine.jpg").read_bytes() == before and (folder / "old" / "fine.jpg").read_text() == "precious"


def test_a_backup_folder_inside_is_no_input(run, shots):
    run("encode", "shots", "--in-place", "--backup", "shots/old")
    first = contents(shots)
    run("encode", "shots", "--in-place", "--backup", "shots/old")
    assert contents(shots) == first


def test_a_name_that_lies_is_left_alone(run, shots):
    shutil.copy(shots / "left.png", shots / "lie.jpg")
    before = (shots / "lie.jpg").read_bytes()
    ended = run("encode", "shots/lie.jpg", "--in-place", expect=4)
    assert "lie.jpg is no jpeg file" in ended.stderr and (shots / "lie.jpg").read_bytes() == before


def test_what_would_lose_parts_is_left_alone(run, shots):
    film = (shots / "fine.jpg").read_bytes() + b"\0\0\0\x18ftypmp42" + bytes(40)
    (shots / "fine.jpg").write_bytes(film)
    (line,) = run("encode", "shots/fine.jpg", "--in-place", "--json").lines
    assert (shots / "fine.jpg").read_bytes() == film
    assert line["kept"] == "original" and "film" in line["notes"][0]


def test_what_would_lose_bits_is_left_alone(run, shots, folder):
    Image.open(shots / "left.png").crop((0, 0, 64, 64)).save(folder / "eight.png")
    run("encode", "eight.png", "-o", "shots/ten.heic", "-n", "none", "-q", "5", "--bits", "10")
    before = (shots / "ten.heic").read_bytes()
    (line,) = run("encode", "shots/ten.heic", "--in-place", "--json").lines
    assert (shots / "ten.heic").read_bytes() == before and line["kept"] == "original" and "8 bits" in line["notes"][0]


def test_what_was_changed_meanwhile_is_left_alone(run, shots, monkeypatch):
    from kcompress.search import pipeline

    real = pipeline.run

    def slow(plan, data, name, *others):
        (shots / "fine.jpg").write_bytes(b"edited meanwhile")
        return real(plan, data, name, *others)

    monkeypatch.setattr(pipeline, "run", slow)
    assert "changed meanwhile" in run("encode", "shots/fine.jpg", "--in-place", expect=5).stderr
    assert (shots / "fine.jpg").read_bytes() == b"edited meanwhile"


def test_a_file_that_is_named_twice_is_coded_once(run, shots):
    lines = run("encode", "shots/fine.jpg", "shots/./fine.jpg", "--in-place", "--json").lines
    assert len(lines) == 1


def test_times_are_kept_elsewhere_too(run, shots, folder):
    run("encode", "shots/fine.jpg", "-o", "new.webp", "--keep-times")
    assert (folder / "new.webp").stat().st_mtime_ns == 10**18


def test_one_codec_alone(run, shots):
    lines = run("encode", "shots", "--in-place", "--codec", "webp", "--json").lines
    assert [line["input"] for line in lines] == ["shots/one.webp"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--in-place", "-o", "x"], ["--in-place and -o exclude"]),
        (["--in-place", "--skip-existing"], ["--skip-existing exclude"]),
        (["--in-place", "--codec", "jpeg,webp"], ["asks for several"]),
        (["--in-place", "-"], ["stdin is no file"]),
        (["--backup", "x"], ["belongs to --in-place"]),
        (["--in-place", "-q", "70"], ["--quality 70 means another thing"]),
    ],
)
def test_nonsense_is_refused(run, shots, arguments, words):
    before = contents(shots)
    ended = run("encode", "shots", *arguments, expect=2)
    assert all(word in ended.stderr for word in words), ended.stderr
    assert contents(shots) == before


def test_another_format_is_refused(run, shots):
    assert "left.png cannot be replaced" in run("encode", "shots/left.png", "--in-place", expect=4).stderr


def test_a_file_is_written_with_rights_and_times_or_not_at_all(tmp_path):
    storage.write(str(tmp_path / "new"), b"data", rights=0o604, times=(10**18, 2 * 10**18))
    status = (tmp_path / "new").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_atime_ns, status.st_mtime_ns) == (0o604, 10**18, 2 * 10**18)
    with pytest.raises(OutputError):
        storage.write(str(tmp_path / "new"), b"other", replace=False, rights=0o600)
    assert (tmp_path / "new").read_bytes() == b"data"


def test_iptc_comments_and_density_stay(run, shots, folder):
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x78\0\x07caption"
    before = (shots / "fine.jpg").read_bytes()
    assert before[6:11] == b"JFIF\0"
    before = before[:13] + bytes([1, 1, 44, 1, 44]) + before[18:]  # 300 dots an inch
    marked = before[:2] + b"\xff\xed" + (2 + len(iptc)).to_bytes(2, "big") + iptc + b"\xff\xfe\0\x07hello" + before[2:]
    (shots / "fine.jpg").write_bytes(marked)
    run("encode", "shots/fine.jpg", "-o", "without.jpg")
    (line,) = run("encode", "shots/fine.jpg", "--in-place", "--json").lines
    assert line["kept"] is None and line["output_bytes"] == (shots / "fine.jpg").stat().st_size < len(before)
    with Image.open(shots / "fine.jpg") as picture, Image.open(folder / "without.jpg") as without:
        assert picture.info["photoshop"] == {0x0404: iptc[-12:]} and picture.info["comment"] == b"hello"
        assert picture.info["dpi"] == (300, 300) != without.info.get("dpi")
        assert picture.getexif()[0x010F] == "maker"
        assert not {"photoshop", "comment"} & set(without.info)
    (shots / "fine.jpg").write_bytes(marked)
    for policy, note in (
        ("all", "only JPEG files can hold its IPTC and comment: left out"),
        ("icc", "its IPTC was left out, which --metadata all keeps from JPEG to JPEG"),
    ):
        arguments = ("-o", "other.webp", "-n", "none", "--metadata", policy, "--force", "--json")
        (line,) = run("encode", "shots/fine.jpg", *arguments).lines
        assert note in line["notes"], policy


def test_files_with_credentials_are_left_alone(run, shots, folder):
    content = b"JP\0\1\0\0\0\1\0\0\0\x15jumb\0\0\0\x0djumdc2pa\0"
    data = (shots / "fine.jpg").read_bytes()
    signed = data[:2] + b"\xff\xeb" + (2 + len(content)).to_bytes(2, "big") + content + data[2:]
    (shots / "fine.jpg").write_bytes(signed)
    (line,) = run("encode", "shots/fine.jpg", "--in-place", "--json").lines
    assert (shots / "fine.jpg").read_bytes() == signed and "Content Credentials" in line["notes"][0]
    for quality in ("30", "100"):
        (line,) = run("encode", "shots/fine.jpg", "-o", "out.jpg", "-q", quality, "--force", "--json").lines
        assert any("Content Credentials" in note for note in line["notes"])
        assert b"c2pa" not in (folder / "out.jpg").read_bytes()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_stays(run, shots, folder):
    os.chown(shots / "fine.jpg", 12, 34)
    run("encode", "shots/fine.jpg", "--in-place", "--backup", "kept/")
    for path in (shots / "fine.jpg", folder / "kept" / "fine.jpg"):
        assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (12, 34, 0o640)


def test_an_owner_that_cannot_be_set_stops_nothing(run, shots, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "chown", refuse)
    before = (shots / "fine.jpg").stat().st_size
    run("encode", "shots/fine.jpg", "--in-place", "-q", "40", "--jobs", "1")
    assert (shots / "fine.jpg").stat().st_size < before


def test_a_folder_of_other_formats_is_told_why(run, shots):
    for path in [*shots.rglob("*.jpg"), *shots.rglob("*.webp")]:
        path.unlink()
    ended = run("encode", "shots", "--in-place", expect=3)
    assert "keeps the format" in ended.stderr and "Give -o" in ended.stderr


@pytest.mark.parametrize("backup", ["shots", "shots/../shots/", "linked"])
def test_a_backup_is_never_the_file_itself(run, shots, folder, backup):
    (folder / "linked").symlink_to("shots")
    before = contents(shots)
    ended = run("encode", "shots/fine.jpg", "--in-place", "--backup", backup, expect=5)
    assert "is itself an input" in ended.stderr and contents(shots) == before
    run("encode", "shots", "--in-place", "--backup", backup, expect=1)
    assert contents(shots) == before


def test_a_backup_is_never_another_input(run, shots, folder):
    shutil.copytree(shots, folder / "copies")
    before = contents(folder)
    ended = run("encode", "shots/fine.jpg", "copies/fine.jpg", "--in-place", "--backup", "copies", expect=1)
    assert ended.stderr.count("is itself an input") == 2 and contents(folder) == before
