"""Several pictures, folders, and one that fails among them."""

import pytest
from PIL import Image

from kcompress.cli import files


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_keeps_its_structure(run, album, folder):
    ended = run("encode", "album", "-o", "out", "--codec", "webp")
    assert names(folder / "out") == ["a.webp", "b.webp", "deep/c.webp", "deep/er/d.webp"]
    assert "4 of 4 pictures: " in ended.stderr.splitlines()[-1]


def test_without_o_the_results_lie_beside_the_pictures(run, album):
    run("encode", "album")
    assert (album / "deep" / "er" / "d.jpg").is_file()


def test_an_output_folder_inside_the_input_is_not_taken_for_input(run, album):
    run("encode", "album", "-o", "album/small")
    first = names(album)
    run("encode", "album", "-o", "album/small", "--force")
    assert names(album) == first


def test_several_files_go_into_one_folder(run, album, folder):
    run("encode", "album/a.png", "album/deep/c.png", "-o", "out")
    assert names(folder / "out") == ["a.jpg", "c.jpg"]


def test_a_new_folder_may_have_a_dot_in_its_name(run, small, folder):
    run("encode", "small.png", "-o", "out.v2/")
    assert names(folder / "out.v2") == ["small.jpg"]


def test_several_pictures_do_not_go_into_one_file(run, album, folder):
    (folder / "taken").write_text("a file")
    for target in ("all.webp", "taken"):
        ended = run("encode", "album/a.png", "album/b.png", "-o", target, "--codec", "webp", expect=2)
        assert target in ended.stderr
    assert not (folder / "all.webp").exists()


def test_jobs_change_nothing_but_times(run, album, folder):
    def told(jobs):
        lines = run("encode", "album", "-o", f"jobs{jobs}", "--jobs", str(jobs), "--json").lines
        timeless = [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in lines]
        return [{**line, "output": line.get("output", "").replace(f"jobs{jobs}", "")} for line in timeless]

    assert told(1) == told(4)
    for name in names(folder / "jobs1"):
        assert (folder / "jobs1" / name).read_bytes() == (folder / "jobs4" / name).read_bytes()


def test_one_that_fails_does_not_stop_the_others(run, album, folder):
    (album / "b.png").write_bytes((album / "b.png").read_bytes()[:300])
    for jobs in ("1", "3"):
        ended = run("encode", "album", "missing.png", "-o", f"out{jobs}", "--jobs", jobs, expect=1)
        assert names(folder / f"out{jobs}") == ["a.jpg", "deep/c.jpg", "deep/er/d.jpg"]
        summary, *failed = ended.stderr.splitlines()[-3:]
        assert summary.startswith("3 of 5 pictures: ")
        assert failed[0].startswith("failed: album/b.png ")
        assert failed[1].startswith("failed: missing.png ")


def test_a_folder_without_pictures(run, folder):
    (folder / "empty").mkdir()
    ended = run("encode", "empty", expect=3)
    assert "no picture was found in empty" in ended.stderr and ".png" in ended.stderr


@pytest.mark.parametrize("jobs", ["1", "3"])
@pytest.mark.parametrize("force", [False, True])
def test_a_file_that_appears_while_a_batch_runs_is_replaced_with_force_alone(
    run, album, folder, monkeypatch, jobs, force
):
    plan = files.plan

    def planned(*arguments, **options):
        found = plan(*arguments, **options)
        (folder / "out").mkdir()
        (folder / "out" / "b.jpg").write_text("precious")  # by somebody else, behind the plan's back
        return found

    monkeypatch.setattr(files, "plan", planned)
    options = ["-o", "out", "-n", "none", "--jobs", jobs, *(["--force"] if force else [])]
    ended = run("encode", "album", *options, expect=0 if force else 1)
    assert ((folder / "out" / "b.jpg").read_bytes() == b"precious") != force
    assert (folder / "out" / "a.jpg").read_bytes().startswith(b"\xff\xd8")
    assert ("failed: out/b.jpg exists. Give --force" in ended.stderr) != force


def test_a_file_that_appears_while_decode_works_is_not_replaced(run, small, folder, monkeypatch):
    run("encode", "small.png", "-o", "packed.webp", "-n", "none")
    plan = files.plan

    def planned(*arguments, **options):
        found = plan(*arguments, **options)
        (folder / "packed.png").write_text("precious")
        return found

    monkeypatch.setattr(files, "plan", planned)
    assert "exists. Give --force" in run("decode", "packed.webp", expect=5).stderr
    assert (folder / "packed.png").read_text() == "precious"


@pytest.mark.parametrize("options", [["-o", "out"], []], ids=["apart", "beside"])
def test_a_batch_that_was_broken_off_goes_on(run, album, folder, options):
    run("encode", "album", *options, "-n", "none")
    place = folder / ("out" if options else "album")
    (place / "deep" / "c.jpg").unlink()
    kept = (place / "a.jpg").stat().st_mtime_ns
    ended = run("encode", "album", *options, "-n", "none", "--skip-existing")
    assert ended.stderr.splitlines()[0] == "3 of 4 pictures are there already"
    assert (place / "deep" / "c.jpg").is_file() and (place / "a.jpg").stat().st_mtime_ns == kept
    again = run("encode", "album", *options, "-n", "none", "--skip-existing")
    assert again.stderr == "4 of 4 pictures are there already\n"
    assert "exclude each other" in run("encode", "album", "--skip-existing", "--force", expect=2).stderr


def test_a_folder_encoded_twice_names_each_picture_once(run, album):
    run("encode", "album", "-n", "none")
    failed = [line for line in run("encode", "album", expect=1).stderr.splitlines() if line.startswith("failed: ")]
    assert [line.split()[1] for line in failed] == sorted({line.split()[1] for line in failed})
    assert len(failed) == 8
    assert all(line.endswith("Give -o, --in-place, or another --codec.") for line in failed)


def test_a_jpeg_in_place_says_what_to_do(run, small, folder):
    run("encode", "small.png", "-n", "none")
    refused = run("encode", "small.jpg", expect=5).stderr
    assert refused.startswith("kcompress: small.jpg would be written over itself: ")
    run("encode", "small.jpg", "-o", "smaller.jpg", "-n", "none")
    run("encode", "small.jpg", "-c", "webp", "-n", "none")


@pytest.mark.parametrize("beside", [False, True])
def test_pictures_that_differ_by_their_suffix_alone_are_both_kept(run, album, folder, beside):
    with Image.open(album / "a.png") as picture:
        picture.transpose(Image.Transpose.ROTATE_180).save(album / "a.jpg")
    place = album if beside else folder / "out"
    options = [] if beside else ["-o", "out"]
    ended = run("encode", "album", "--codec", "webp", "-n", "none", *options)
    made = [name for name in names(place) if name.endswith(".webp")]
    assert made == ["a.jpg.webp", "a.png.webp", "b.webp", "deep/c.webp", "deep/er/d.webp"]
    assert (place / "a.jpg.webp").read_bytes() != (place / "a.png.webp").read_bytes()
    assert "2 pictures differ from another by their suffix alone" in ended.stderr and "a.jpg.webp" in ended.stderr
    again = run("encode", "album", "--codec", "webp", "-n", "none", "--skip-existing", *options)
    assert "5 of 5 pictures are there already" in again.stderr
    assert [name for name in names(place) if name.endswith(".webp")] == made


def test_beside_them_a_picture_that_would_be_replaced_stays(run, album):
    with Image.open(album / "a.png") as picture:
        picture.save(album / "a.jpg")
    before = (album / "a.jpg").read_bytes()
    run("encode", "album", "-n", "none", "--force", expect=1)
    assert (album / "a.jpg").read_bytes() == before
