import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import alive, wait_until

from kcompress import programs
from kcompress.errors import MissingProgramError, ProgramError, ProgramTimeoutError
from kcompress.programs import Program, ffmpeg, scratch_folder


@pytest.fixture(autouse=True)
def short_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the fakes of the test, and the system's shell for them."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def fake(folder: Path, script: str, name: str = "kcfake") -> Program:
    """A program that is a shell script."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return Program(name, ("-version",), r"\d+\.\d+", "Install it.")


@pytest.mark.parametrize("pipe", ["1", "2"])
@pytest.mark.parametrize("code", [0, 1, 7])
def test_a_version_is_found_on_either_pipe_with_any_code(tmp_path: Path, pipe: str, code: int) -> None:
    program = fake(tmp_path, f'[ "$1" = -version ] && echo "kcfake version 12.3 (build)" >&{pipe}; exit {code}')
    assert program.version() == "12.3"


def test_a_program_that_tells_no_version_is_still_there(tmp_path: Path) -> None:
    assert fake(tmp_path, "echo hello").version() == "unknown version"


def test_a_missing_program_says_how_to_get_it() -> None:
    program = Program("kc-no-such-program", ("-v",), "x", "Debian: apt install it.")
    assert program.find() is None
    assert program.version() is None
    with pytest.raises(MissingProgramError, match=r"kc-no-such-program is not installed\. Debian: apt install it\."):
        program.run([])


def test_a_file_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "kcfake").write_text("#!/no/such/interpreter\n")
    (tmp_path / "kcfake").chmod(0o755)
    program = Program("kcfake", ("-v",), "x", "Install it.")
    with pytest.raises(ProgramError, match="cannot be started"):
        program.run([])
    assert program.version() == "unknown version"


def test_a_failure_tells_the_code_and_the_last_words(tmp_path: Path) -> None:
    program = fake(tmp_path, "for i in 1 2 3 4 5; do echo line $i >&2; done; exit 3")
    with pytest.raises(ProgramError, match=r"kcfake failed with code 3: line 3 / line 4 / line 5\. Try another"):
        program.run([])


def test_a_failure_without_a_word(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="failed with code 1: it gave no reason"):
        fake(tmp_path, "exit 1").run([])


@pytest.mark.parametrize("signal", ["SEGV", "KILL", "ABRT"])
def test_a_crash_is_told_by_its_signal(tmp_path: Path, signal: str) -> None:
    with pytest.raises(ProgramError, match=f"was ended by signal SIG{signal}"):
        fake(tmp_path, f"ulimit -c 0; kill -{signal} $$; sleep 5").run([])


def test_words_that_are_no_utf8_do_no_harm(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="failed with code 1: b"):
        fake(tmp_path, r"printf 'b\377\376' >&2; exit 1").run([])


@pytest.mark.parametrize(
    "script", ["sleep 60", "sleep 60 & sleep 60", "sleep 60 & exit 0", "trap '' TERM; sleep 60; sleep 60"]
)
def test_a_hang_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setenv("KCOMPRESS_TIMEOUT", "0.5")
    start = time.monotonic()
    with pytest.raises(ProgramTimeoutError, match=r"kcfake was stopped after 0\.5 seconds\. .*KCOMPRESS_TIMEOUT"):
        fake(tmp_path, script).run([], b"x" * 300_000)
    # The sleeping child holds the pipes open: waiting for their end would take a minute.
    assert time.monotonic() - start < 10


def test_a_program_that_does_not_read_its_input_may(tmp_path: Path) -> None:
    assert fake(tmp_path, "exec 0<&-; echo done").run([], b"x" * 5_000_000) == b"done\n"


def test_a_program_that_gives_up_early_tells_why(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="code 2: bad input"):
        fake(tmp_path, "echo bad input >&2; exit 2").run([], b"x" * 5_000_000)


def test_both_pipes_may_be_full_at_once(tmp_path: Path) -> None:
    much = "head -c 1000000 /dev/zero"
    program = fake(tmp_path, f"{much} >&2; {much}; cat >/dev/null; {much} >&2; {much}")
    assert program.run([], memoryview(bytes(1_000_000))) == bytes(2_000_000)


def test_input_arrives_byte_by_byte_the_same(tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    assert fake(tmp_path, "cat").run([], data) == data
    table = memoryview(data).cast("B", (1000, 256))
    assert fake(tmp_path, "cat").run([], b"head", table, b"", data[:7]) == b"head" + data + data[:7]


@pytest.mark.parametrize(
    "argument", ["a b", "$(exit 9)", "; exit 9", "`exit 9`", '"', "'", "*", "ä\U0001f600", "-", "--", "new\nline", ""]
)
def test_arguments_arrive_as_they_are(tmp_path: Path, argument: str) -> None:
    program = fake(tmp_path, "printf '%s|' \"$@\"")
    assert program.run([argument, "end"]).decode() == f"{argument}|end|"


@pytest.mark.parametrize("seconds", ["soon", "", "nan", "-1", "inf", "1e30"])
def test_an_unreadable_timeout_is_no_timeout_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("KCOMPRESS_TIMEOUT", seconds)
    assert fake(tmp_path, "echo fine").run([]) == b"fine\n"


def test_a_scratch_folder_goes_away_with_its_files() -> None:
    with scratch_folder() as folder:
        (folder / "file").write_bytes(b"x")
        assert folder.is_dir()
    assert not folder.exists()


def test_the_ffmpeg_of_the_package_is_not_the_one_on_the_path(tmp_path: Path) -> None:
    fake(tmp_path, "echo ffmpeg version 0.0", "ffmpeg")
    assert ffmpeg().version() not in (None, "0.0", "unknown version")


def test_a_child_that_holds_the_input_does_not_block(tmp_path: Path) -> None:
    """The program ends well and leaves a child that never reads what is still to come."""
    program = fake(tmp_path, "exec 3<&0\nsleep 60 <&3 3<&- >/dev/null 2>&1 &\necho done")
    start = time.monotonic()
    assert program.run([], bytes(1 << 20)) == b"done\n"
    assert time.monotonic() - start < 30


def test_a_flood_of_words_costs_no_memory(tmp_path: Path) -> None:
    program = fake(tmp_path, "head -c 300000000 /dev/zero >&2; echo the end >&2; exit 4")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ProgramError, match=r"failed with code 4: .*the end\. "):
        program.run([])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_the_last_words_are_kept_whole(tmp_path: Path) -> None:
    program = fake(tmp_path, "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done >&2; exit 1")
    with pytest.raises(ProgramError, match="line 29997 / line 29998 / line 29999"):
        program.run([])


def test_a_flood_of_output_is_cut_off(tmp_path: Path) -> None:
    program = fake(tmp_path, "cat /dev/zero")
    start = time.monotonic()
    with pytest.raises(ProgramError, match="kcfake wrote more than 1,000,000 bytes and was stopped"):
        program.run([], most=1_000_000)
    assert time.monotonic() - start < 10
    assert len(fake(tmp_path, "head -c 1000000 /dev/zero").run([], most=1_000_000)) == 1_000_000


@pytest.mark.skipif(not programs._dying_with_us(), reason="no setpriv here")
def test_a_program_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    fake(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 100")
    kill_the_parent_of(tmp_path, "Program('kcfake', (), '', '').run([])")


def test_a_program_that_ends_with_its_pipes_needs_nothing_else(tmp_path: Path) -> None:
    """Nor what others are started by, which takes as long as a small picture."""
    fake(tmp_path, f"echo $$ > {tmp_path}/pid; exec cat")
    kill_the_parent_of(tmp_path, "Program('kcfake', (), '', '', ends_with_its_pipes=True).run([], bytes(1 << 30))")


def kill_the_parent_of(tmp_path: Path, call: str) -> None:
    """Start a fake by a process of its own, kill that, and wait until the fake is gone, too."""
    code = f"from kcompress.programs import Program; {call}"
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    assert alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(child))
