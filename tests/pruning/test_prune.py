# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What the rules let go from a store, and that nothing else goes."""

import hashlib
import json
import os
import shutil
import time
from collections import namedtuple
from pathlib import Path

import pytest
import yaml

from models.errors import InputError
from stages.pipeline.logs import LogTask, map_logs
from stages.pipeline.store import Store
from stages.prune import prune
from stages.pruning.items import items, remove_items
from stages.pruning.lock import used_by_lock
from tests.pipeline import steps
from tests.pipeline.test_store import compute_powers, entries, runs, workspace, write_numbers  # noqa: F401

DAY = 86400.0


def by_text() -> dict[str, Path]:
    return {(path / "power.txt").read_text(): path for path in entries()}


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def test_nothing_goes_without_a_rule_or_without_delete() -> None:
    compute_powers()
    assert "power                entry            3" in prune(None, False, None, True)
    assert "would go" in prune(0.0, False, None, False)
    assert len(entries()) == 3


def test_a_store_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is a folder or none, as before the first run."""
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "empty"))
    assert prune(None, False, None, False) == f"{tmp_path}/empty holds nothing\n"
    (tmp_path / "empty/running").mkdir(parents=True)
    assert prune(None, False, None, False) == f"{tmp_path}/empty holds nothing\n"
    assert prune(0.0, False, None, True) == f"nothing in {tmp_path}/empty can go by these rules\n"


def test_by_age_since_the_last_use() -> None:
    compute_powers()
    for path in entries():
        age(path, 40)
    compute_powers(logs="ab")  # uses two of them
    assert "entry            1" in prune(30, False, None, True)
    assert sorted(by_text()) == ["4", "9"]
    assert Path("out/a.txt").read_text() == "4"
    compute_powers()
    assert runs() == {"a": 1, "b": 1, "c": 2}  # what went is computed again


def test_by_size_the_longest_unused_first() -> None:
    compute_powers()
    paths = by_text()
    age(paths["9"], 3)
    age(paths["4"], 2)
    total = sum(item.size for item in items(Path(".scratch")))
    prune(None, False, (total - 1) / 1e9, True)  # one byte too much: one log goes
    assert sorted(by_text()) == ["25", "4"]
    assert "nothing in" in prune(None, False, 1.0, True)


def test_what_is_freed_is_what_no_output_holds() -> None:
    compute_powers()
    manifests = sum((path / "manifest.json").stat().st_size for path in entries())
    assert sum(item.freed for item in items(Path(".scratch"))) == manifests
    shutil.rmtree("out")
    assert all(item.freed == item.size for item in items(Path(".scratch")))


def test_halves_of_killed_runs_and_the_folders_of_slurm_runs_are_items_too() -> None:
    compute_powers(logs="a")
    (Path(".scratch/power") / ("0" * 64 + ".partial")).mkdir()
    Path(".scratch/train/key.checkpoint").mkdir(parents=True)
    Path(".scratch/slurm/sceneflow-power-1/logs").mkdir(parents=True)
    kinds = sorted((item.step, item.kind) for item in items(Path(".scratch")))
    assert kinds == [("power", "entry"), ("power", "partial"), ("slurm", "slurm run"), ("train", "checkpoint")]


def test_a_step_at_work_is_left_alone() -> None:
    compute_powers()
    with Store(Path(".scratch/power")).in_use():
        text = prune(0.0, False, None, True)
    assert "left alone, for a stage is at work on it: power" in text
    assert len(entries()) == 3
    remove_items(items(Path(".scratch")))
    assert entries() == []


def write_lock(outputs: dict[str, dict[str, bytes]]) -> Path:
    """A dvc.lock with one stage an output, and the cache that it speaks of."""
    cache, stages = Path("cache"), {}
    for name, files in outputs.items():
        listing = [{"md5": put(cache, content), "relpath": path} for path, content in files.items()]
        digest = put(cache, json.dumps(listing).encode(), ".dir")
        stages[name] = {"cmd": name, "outs": [{"path": f"data/{name}", "md5": f"{digest}.dir"}]}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    return cache


def put(cache: Path, content: bytes, suffix: str = "") -> str:
    digest = hashlib.md5(content).hexdigest()
    path = cache / "files/md5" / digest[:2] / f"{digest[2:]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return digest


def test_by_the_lock() -> None:
    """Of the squares the lock names two; of the step `join`, whose output holds none of its files, nothing may go."""
    compute_powers()
    Path(".scratch/join/key").mkdir(parents=True)
    Path(".scratch/join/key/rows.txt").write_text("1 2 3")
    cache = write_lock({"power": {"a.txt": b"4", "c.txt": b"25"}, "join": {"all.txt": b"other rows"}})
    used = used_by_lock(items(Path(".scratch")), cache)
    assert used == {by_text()["4"], by_text()["25"], Path(".scratch/join/key")}


def test_what_the_lock_names_and_the_cache_lost_stays() -> None:
    """The store holds the last copy of c.txt; that of a.txt is in the cache, and b.txt is in no output."""
    compute_powers()
    cache = write_lock({"power": {"a.txt": b"4", "c.txt": b"25"}})
    digest = hashlib.md5(b"25").hexdigest()
    (cache / "files/md5" / digest[:2] / digest[2:]).unlink()
    assert used_by_lock(items(Path(".scratch")), cache) == {by_text()["4"], by_text()["25"]}


def test_a_lock_whose_cache_is_elsewhere_cannot_judge() -> None:
    compute_powers()
    write_lock({"power": {"a.txt": b"4"}})
    with pytest.raises(InputError, match="dvc.lock names data/power but the cache nowhere lacks it"):
        used_by_lock(items(Path(".scratch")), Path("nowhere"))


def test_a_full_disk_is_told_with_its_figures_before_a_big_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 5 * 10**9))
    tasks = [LogTask(log, {}, size=2 * 10**9) for log in "abc"]
    with pytest.raises(InputError, match=r"power, 3 logs, needs about 6 GB, and .* has 5 GB free; .*make prune"):
        map_logs("power", steps.power_log, tasks, steps.Parameters(2), {"power": Path("out")}, {"power": ".txt"})


def test_logs_that_the_store_has_need_no_space(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        tasks = [LogTask("a", {}, size=10**18)]
        map_logs("one", steps.one_log, tasks, steps.Parameters(1), {"one": Path("one")}, {"one": ".txt"})

    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 10**19))
        write()
    write()
