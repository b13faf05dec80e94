"""``encode`` with URLs, and on a cluster: the same files as here."""

import csv
import os
import shutil
import signal

import pytest

SOURCE, OUT = "memory://kcompress-far/photos", "memory://kcompress-far/small"


@pytest.fixture
def memory():
    files = pytest.importorskip("fsspec").filesystem("memory")
    yield files
    if files.exists("/kcompress-far"):
        files.rm("/kcompress-far", recursive=True)


@pytest.fixture
def photos(folder, small):
    """Three pictures and what is none, in a folder of this machine."""
    for name in ("a.png", "b.png", "deep/c.png"):
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small, folder / "photos" / name)
    (folder / "photos" / "a.png").write_bytes(b"nonsense")
    (folder / "photos" / "notes.txt").write_bytes(b"text")
    return folder / "photos"


@pytest.fixture
def far(photos, memory):
    """The same behind a URL."""
    for path in photos.rglob("*.*"):
        memory.pipe_file(f"/kcompress-far/photos/{path.relative_to(photos).as_posix()}", path.read_bytes())
    return SOURCE


def here(folder, below="small"):
    return {
        path.relative_to(folder / below).as_posix(): path.read_bytes() for path in (folder / below).rglob("*.*")
    }  # fmt: skip


def there(memory, below="small"):
    root = f"/kcompress-far/{below}/"
    return {name.removeprefix(root): memory.cat_file(name) for name in memory.find(root)}


def fields(ended, *names):
    return [{name: line.get(name) for name in ("type", *names)} for line in ended.lines]


def test_urls_give_the_same_files(run, photos, far, folder, memory):
    options = ("--codec", "jpeg,webp", "--network", "none", "--json")
    known = ("codec", "output_bytes", "exit_code")
    local = run("encode", "photos", "-o", "small/", *options, expect=1)
    table, page = f"{OUT}.csv", f"{OUT}.html"
    ended = run("encode", far, "-o", OUT, *options, "--report", table, "--report", page, expect=1)
    assert there(memory) == here(folder)
    assert fields(ended, *known) == fields(local, *known)
    assert ended.lines[2]["input"] == f"{SOURCE}/b.png" and ended.lines[2]["output"] == f"{OUT}/b.jpg"
    rows = list(csv.DictReader(memory.cat_file("/kcompress-far/small.csv").decode().splitlines()))
    assert [row["output"] for row in rows] == ["", "", *(line["output"] for line in ended.lines[2:-1])]
    assert b'href="small/deep/c.jpg"' in memory.cat_file("/kcompress-far/small.html")


def test_one_picture_goes_beside_its_input(run, far, folder, memory):
    run("encode", f"{far}/b.png", "--network", "none")
    assert "b.jpg" in there(memory, "photos")
    run("encode", f"{far}/b.png", "-o", "b.jpg", "--network", "none")
    run("encode", "b.jpg", "-o", f"{OUT}/b.webp", "--network", "none")
    assert list(there(memory)) == ["b.webp"]


def test_existing_files_are_listed_once(run, far, memory, monkeypatch):
    run("encode", f"{far}/b.png", "-o", f"{OUT}/", "--network", "none")
    before = there(memory)
    ended = run("encode", far, "-o", OUT, "--network", "none", expect=1)
    assert f"{OUT}/b.jpg exists. Give --force to overwrite it" in ended.stderr
    listed, asked = [], []
    find, exists = type(memory).find, type(memory).exists
    monkeypatch.setattr(type(memory), "find", lambda *given, **more: listed.append(given[1]) or find(*given, **more))
    monkeypatch.setattr(type(memory), "exists", lambda *given, **more: asked.append(given[1]) or exists(*given, **more))
    memory.rm("/kcompress-far/small/deep/c.jpg")
    ended = run("encode", far, "-o", OUT, "--network", "none", "--skip-existing", expect=1)
    assert "1 of 3 pictures are there already" in ended.stderr
    assert listed.count("/kcompress-far/small") == 1
    assert not [name for name in asked if name.endswith("b.jpg")]
    assert before.items() <= there(memory).items() and "deep/c.jpg" in there(memory)


def test_results_inside_the_folder_are_no_inputs(run, far, memory):
    for _ in range(2):
        run("encode", far, "-o", f"{far}/small", "--codec", "webp", "--network", "none", "--force", expect=1)
        assert sorted(there(memory, "photos/small")) == ["b.webp", "deep/c.webp"]


def test_dry_run_tells_sizes(run, far, memory):
    ended = run("encode", far, "-o", OUT, "--network", "none", "--dry-run", "--json")
    assert [line["input_bytes"] > 0 for line in ended.lines] == [True] * 3
    assert not there(memory)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((f"{SOURCE}/b.png", "--in-place"), f"--in-place: {SOURCE}/b.png is not on this machine"),
        (("b.jpg", "--in-place", "--backup", OUT), f"--in-place: {OUT} is not on this machine"),
        ((f"{SOURCE}/b.png", "--keep-times"), f"--keep-times has no meaning for {SOURCE}/b.png"),
        (("b.png", "-o", f"{OUT}/", "--keep-times"), f"--keep-times has no meaning for {OUT}/"),
        (("b.png", "--cluster", "tcp://x:1", "-o", "-"), "--cluster tcp://x:1 and - exclude each other"),
        (("b.png", "--cluster", "tcp://x:1", "--dry-run"), "--cluster tcp://x:1 and --dry-run exclude each other"),
        (("photos/b.png", "--cluster", "nonsense"), "--cluster nonsense does not answer"),
    ],
)
def test_what_needs_this_machine_is_refused(run, photos, options, message):
    pytest.importorskip("distributed")
    assert message in run("encode", *options, "--network", "none", expect=2).stderr


def test_a_missing_picture_is_told(run, memory):
    ended = run("encode", f"{SOURCE}/none.png", expect=3)
    assert f"{SOURCE}/none.png cannot be read: there is no such file" in ended.stderr


def test_a_file_url_is_no_way_around_its_path(run, small, folder):
    shutil.copy(small, folder / "a.jpg")
    before = (folder / "a.jpg").read_bytes()
    ended = run("encode", f"file://{folder}/a.jpg", "-o", "a.jpg", "--force", expect=5)
    assert "would be written over itself" in ended.stderr
    assert (folder / "a.jpg").read_bytes() == before


def test_a_task_is_the_same_elsewhere(small):
    """Pickled as for another machine; the network, its device and its weights included."""
    import pickle

    from kcompress.cli.encode_picture import done, done_elsewhere, parcel
    from kcompress.cli.encode_tasks import Task
    from kcompress.cli.files import Job
    from kcompress.codecs import CODECS
    from kcompress.search.plan import Order

    for codec, network, more in (("jpeg", "rdo", {}), ("webp", "shrink", {"strength": 0.5}), ("jpeg", "none", {})):
        plan = Order(codec, CODECS[codec].setting(40), network, {"device": "auto", **more}).plan()
        task = Task(str(small), ((plan, Job(str(small), "x")),))
        (here,) = done(task, None, shots=True)
        (there,) = pickle.loads(pickle.dumps(done_elsewhere(*pickle.loads(pickle.dumps(parcel(task, shots=True))))))
        assert there.outcome.encoded.data == here.outcome.encoded.data
        assert there.outcome.encoded.network == here.outcome.encoded.network
        assert there.shot is not None


@pytest.mark.slow
def test_a_cluster_gives_the_same_files_though_a_worker_is_lost(run, start, photos, folder, memory, tmp_path):
    distributed = pytest.importorskip("distributed")
    for number in range(12):
        shutil.copy(photos / "b.png", photos / f"more{number}.png")
    options = ("--codec", "jpeg,webp", "--json", "--report")
    local = run("encode", "photos", "-o", "here", *options, "here.csv", expect=1)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        process = start(
            "encode", "photos", "-o", "there/", *options, "there.csv", "--cluster", cluster.scheduler_address
        )
        process.stdout.readline()  # at work
        os.kill(cluster.workers[0].process.pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 1, stderr
    assert here(folder, "there") == here(folder, "here")
    order = [line["output"].removeprefix("here/") for line in local.lines if line["type"] == "encoded"]
    rows = list(csv.DictReader((folder / "there.csv").open()))
    assert [row["output"].removeprefix("there/") for row in rows if row["output"]] == order


@pytest.mark.slow
def test_bench_measures_the_same_on_a_cluster(run, launch, photos, folder):
    distributed = pytest.importorskip("distributed")
    options = ("--codec", "jpeg,webp", "--network", "none,shrink", "--quality", "30,50,70,90", "--metric", "psnr")
    run("bench", "photos", "-o", "here", *options, expect=1)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        address = cluster.scheduler_address
        refused = run("bench", "photos", "--task", "detection", "--model", "x", "--cluster", address, expect=2)
        launch("bench", "photos", "-o", "there", *options, "--cluster", address, expect=1)
    assert "--cluster" in refused.stderr
    here, there = (
        [
            {name: value for name, value in row.items() if "seconds" not in name}
            for row in csv.DictReader((folder / report / "points.csv").open())
        ]
        for report in ("here", "there")
    )
    assert here == there and len(here) == 2 * 2 * 2 * 4
