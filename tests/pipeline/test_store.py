# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Each log is computed once, whatever dies in between, and nothing half-written is ever taken for a result."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from models.errors import InputError
from stages.pipeline.code import ROOT
from stages.pipeline.logs import LogTask, map_logs
from stages.pipeline.store import Store
from tests.pipeline import steps

NUMBERS = {"a": 2, "b": 3, "c": 5}


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENEFLOW_WORKERS", "2")
    for name in ("DVC_ROOT", "SCENEFLOW_STORE"):
        monkeypatch.delenv(name, raising=False)
    write_numbers(NUMBERS)
    return tmp_path


def write_numbers(numbers: dict[str, int]) -> None:
    Path("in").mkdir(exist_ok=True)
    for log, number in numbers.items():
        Path(f"in/{log}.txt").write_text(str(number))


def compute_powers(function=steps.power_log, power: int = 2, logs: Sequence[str] = "abc") -> dict[str, str]:
    tasks = [LogTask(log, {"number": Path(f"in/{log}.txt")}) for log in logs]
    map_logs("power", function, tasks, steps.Parameters(power), {"power": Path("out")}, {"power": ".txt"})
    return {path.stem: path.read_text() for path in sorted(Path("out").iterdir())}


def runs() -> dict[str, int]:
    return {path.stem: len(path.read_text().splitlines()) for path in sorted(Path("in").glob("*.runs"))}


def entries() -> list[Path]:
    return [path for path in Path(".scratch/power").iterdir() if path.is_dir()]


def test_one_more_log_costs_one_log() -> None:
    assert compute_powers(logs="ab") == {"a": "4", "b": "9"}
    assert compute_powers(logs="abc") == {"a": "4", "b": "9", "c": "25"}
    assert runs() == {"a": 1, "b": 1, "c": 1}
    assert compute_powers(logs="bc") == {"b": "9", "c": "25"}  # and one log less costs nothing
    assert runs() == {"a": 1, "b": 1, "c": 1}


def test_only_what_a_change_touches_is_computed_again() -> None:
    compute_powers()
    write_numbers({"b": 7})
    assert compute_powers() == {"a": "4", "b": "49", "c": "25"}
    assert runs() == {"a": 1, "b": 2, "c": 1}
    assert compute_powers(power=3) == {"a": "8", "b": "343", "c": "125"}
    assert runs() == {"a": 2, "b": 3, "c": 2}
    compute_powers()  # and back again: all from the store
    assert runs() == {"a": 2, "b": 3, "c": 2}


def test_results_are_links_that_nothing_can_write_to() -> None:
    compute_powers()
    assert all(os.stat(f"out/{log}.txt").st_nlink == 2 for log in NUMBERS)
    assert all(os.stat(f"out/{log}.txt").st_mode & 0o222 == 0 for log in NUMBERS)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_entry_is_computed_again(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    compute_powers()
    file = next(path / "power.txt" for path in entries() if (path / "power.txt").read_text() == "25")
    for path in (file, file.with_name("manifest.json")):
        path.chmod(0o644)
    if damage == "flip":
        file.write_text("26")
    elif damage == "truncate":
        file.write_text("")
    elif damage == "remove":
        file.unlink()
    else:
        file.with_name("manifest.json").write_text("{")
    assert compute_powers() == {"a": "4", "b": "9", "c": "25"}
    assert runs() == {"a": 1, "b": 1, "c": 2}


def test_a_failure_names_the_log_and_keeps_the_others() -> None:
    write_numbers({"b": -1})
    with pytest.raises(InputError, match=r"failed for 1 of 3 logs.*\nlog b: number is negative; make it positive"):
        compute_powers(steps.fragile_log)
    assert not Path("out").exists()
    write_numbers({"b": 3})
    assert compute_powers(steps.fragile_log) == {"a": "4", "b": "9", "c": "25"}
    assert runs() == {"a": 1, "b": 1, "c": 1}


def test_a_failed_stage_leaves_the_old_output_alone() -> None:
    compute_powers()
    write_numbers({"b": -1})
    with pytest.raises(InputError):
        compute_powers(steps.fragile_log)
    assert Path("out/b.txt").read_text() == "9"


def test_a_defect_keeps_its_traceback() -> None:
    write_numbers({"c": -2})
    with pytest.raises(RuntimeError, match=r"(?s)log c: ZeroDivisionError: a defect.*steps.py"):
        compute_powers(steps.fragile_log)


def test_a_killed_worker_takes_down_its_own_log_only() -> None:
    write_numbers({"a": -9})
    with pytest.raises(InputError, match=r"failed for 1 of 3 logs.*\nlog a: its worker was killed"):
        compute_powers(steps.fragile_log)
    assert sorted(runs()) == ["b", "c"]


def start_slow(logs: Sequence[str] = "abc") -> subprocess.Popen[bytes]:
    Path("run.py").write_text(
        "from tests.pipeline import steps, test_store as t\n"
        f"if __name__ == '__main__': t.compute_powers(steps.slow_log, logs={list(logs)})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCENEFLOW_WORKERS": "1"}
    # A shell that starts the tests in the background lets its children ignore Ctrl-C; a user's shell does not.
    ignored = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.Popen([sys.executable, "run.py"], env=environment, stderr=subprocess.DEVNULL)
    finally:
        signal.signal(signal.SIGINT, ignored)


def finished() -> list[Path]:
    """Manifests of entries; one in a `.partial` folder is not an entry until that is renamed."""
    return [path for path in Path(".scratch/power").glob("*/manifest.json") if path.parent.suffix != ".partial"]


def test_killed_halfway_it_resumes_to_the_same_bytes() -> None:
    process = start_slow()
    wait_for(finished, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(finished())
    assert 1 <= before < 3
    assert not Path("out").exists()
    assert compute_powers(steps.slow_log) == {"a": "4", "b": "9", "c": "25"}
    assert runs()["a"] == 1  # the log that was finished before the kill was not computed again
    assert not list(Path(".scratch/power").glob("*.partial"))


def test_an_interrupt_ends_the_workers_whatever_waits() -> None:
    """Ctrl-C with a hundred logs in the queue: none of them is begun, and what is finished stays."""
    write_numbers({f"log{number:03}": number for number in range(100)})
    process = start_slow([f"log{number:03}" for number in range(100)])
    wait_for(finished, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) != 0
    begun = len(runs())
    assert begun < 100
    time.sleep(1.0)  # longer than a log takes: a worker that lived on would leave a mark
    assert len(runs()) == begun
    assert finished()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    while not condition():
        assert process.poll() is None, "ended too early"
        time.sleep(0.01)


def test_two_runs_at_once_share_the_work() -> None:
    first, second = start_slow(), start_slow()
    assert (first.wait(), second.wait()) == (0, 0)
    assert runs() == {"a": 1, "b": 1, "c": 1}
    assert Path("out/c.txt").read_text() == "25"


def test_any_number_of_workers_gives_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for workers in ("1", "3"):
        monkeypatch.setenv("SCENEFLOW_WORKERS", workers)
        compute_powers()
    assert runs() == {"a": 1, "b": 1, "c": 1}


ANOTHER_USER = """
import os, pathlib, sys
from stages.pipeline.store import Store
os.setgroups([])
os.setresgid(12345, 12345, 12345)
os.setresuid(12345, 12345, 12345)
store = Store(pathlib.Path("power"))
with store.in_use():
    sys.exit(0 if store.intact("key") else 3)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_entry_is_found(workspace: Path) -> None:
    """An entry and a lock that the user may read and not write, in a folder that all may write."""
    store = Store(Path("power"))
    with store.in_use():
        folder = store.workspace("key")
        (folder / "a.txt").write_text("4")
        store.commit("key", folder)
    for path, mode in ((workspace, 0o755), (store.folder, 0o777), (store.entry("key"), 0o755)):
        path.chmod(mode)
    (store.folder / ".in_use").chmod(0o644)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", ANOTHER_USER], env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_stage_at_work_is_seen_though_its_lock_is_open_for_reading() -> None:
    store = Store(Path("power"))
    with store.in_use(), store.use_file().open("a") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_entry_is_on_the_disk_before_it_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut the name of an entry must not be there without its content."""
    store, synced, sync = Store(Path("power")), set(), os.fsync

    def note(descriptor: int) -> None:
        sync(descriptor)
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", note)
    folder = store.workspace("key")
    (folder / "a").mkdir()
    (folder / "a/b.txt").write_text("4")
    wanted = {str(folder.resolve() / name) for name in ("", "a", "a/b.txt", "manifest.json")}
    store.commit("key", folder)
    assert store.intact("key")
    assert synced == wanted  # by the names of the workspace, so before the rename
