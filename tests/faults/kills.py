# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Random kills of a running pipeline, each followed by one `dvc repro` that must end as if nothing had happened.

`python -m tests.faults.kills --kills 200 --results metrics/benchmarks/kills.jsonl` goes on where the results end.
What a kill does follows from the seed and its number; only when it strikes follows from the machine's pace.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.pipeline.project import SMALL, make_project

TINY = {
    **SMALL,
    "simulate.train.sweeps": 3,
    "simulate.val.logs": 1,
    "simulate.val.sweeps": 2,
    "simulate.test.logs": 0,
    "simulate.scene.lidar.azimuth_steps": 120,
    "train.model.voxel": 1.6,
    "train.epochs": 3,
}
TARGET = "evaluate"  # and all that leads to it
LEVELS = ("dvc", "stage", "worker", "all")
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
PATIENCE = 180.0  # seconds after which a run hangs
NOISE = ("Traceback", "Segmentation fault", "leaked", "exited with -11")


@dataclass(frozen=True)
class Kill:
    """One kill, as drawn.

    Attributes:
        number: its place in the sequence.
        forgotten: stages whose outputs, cache objects, lock entries and store are removed before the run.
        level: who gets the signal: DVC alone, the stage, one worker, or all of them as by Ctrl-C.
        signal: name of the signal.
        moment: share of the run's expected time after which it strikes.
    """

    number: int
    forgotten: tuple[str, ...]
    level: str
    signal: str
    moment: float


def draw(seed: int, number: int, stages: Sequence[str]) -> Kill:
    """The kill of a number; `stages` in the order in which they run."""
    rng = random.Random(f"{seed} {number}")
    first = rng.randrange(len(stages))
    extent = rng.choices((1, 2, 3, len(stages)), (10, 5, 3, 1))[0]
    return Kill(
        number, tuple(stages[first : first + extent]), rng.choice(LEVELS), rng.choice(SIGNALS), rng.uniform(0.05, 0.9)
    )


class Range:
    """A small project whose pipeline has run once: what a run must end with again."""

    def __init__(self, folder: Path) -> None:
        self.project = make_project(folder, TINY)
        begin = time.monotonic()
        self.project.repro(TARGET)
        self.project.run("git", "add", "--all")
        self.project.run("git", "commit", "--quiet", "--message", "results")
        self.stages = list(self.lock())
        self.pace = (time.monotonic() - begin) / len(self.stages)  # seconds a stage
        self.digests, self.locked = self.project.digests(), self.lock()

    def lock(self) -> dict[str, Any]:
        """Entries of dvc.lock by stage."""
        return yaml.safe_load((self.project.folder / "dvc.lock").read_text())["stages"]

    def forget(self, stages: Sequence[str]) -> None:
        """Remove all that is left of stages: outputs, cache objects, lock entries, run cache, store."""
        folder, lock = self.project.folder, self.lock()
        for stage in stages:
            for out in lock.pop(stage)["outs"]:
                self._forget_objects(out["md5"])
                _remove(folder / out["path"])
            for step in (folder / ".scratch").glob(f"{stage.split('@')[0]}*"):
                shutil.rmtree(step)
        _remove(folder / ".dvc/cache/runs")
        (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}, sort_keys=False))

    def _forget_objects(self, digest: str) -> None:
        path = self.project.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
        if digest.endswith(".dir") and path.exists():
            for entry in json.loads(path.read_text()):
                self._forget_objects(entry["md5"])
        _remove(path)

    def strike(self, kill: Kill) -> dict[str, Any]:
        """Forget, run, kill, run again; what came of it."""
        self.forget(kill.forgotten)
        after = kill.moment * (1.2 + 0.7 * self.pace * len(kill.forgotten))
        hit, hung, text = self._killed_run(kill, after)
        begin = time.monotonic()
        again = self.project.repro(TARGET, check=False)
        remedy = self._remedy() if again.returncode else ""
        if remedy:
            self.project.run(*remedy.split())
            again = self.project.repro(TARGET, check=False)
        if again.ran:
            self.pace = 0.8 * self.pace + 0.2 * (time.monotonic() - begin - 1.5) / len(again.ran)
        outcome = self._outcome(again.returncode, again.text)
        if remedy and outcome == "right":
            outcome = f"remedied: {remedy}"
        if hung:  # whatever came after: somebody would have waited for ever
            outcome = "lost: it hung"
        return {
            **asdict(kill),
            "after_s": round(after, 2),
            "hit": hit,
            "outcome": outcome if hit or hung else "no kill: the run had ended",
            "ran_again": sorted(again.ran),
            "noise": [word for word in NOISE if word in text],
            **({"text": again.text[-2000:]} if again.returncode else {}),
        }

    def _remedy(self) -> str:
        """The command that `make repro` names after a failure: a lock file that DVC was writing when it was killed."""
        said = self.project.run("python", "-m", "stages.check", "--obstacles", check=False).stdout
        found = re.search(r"`((?:rm|git checkout) [^`]+)`", said)
        return found[1] if found else ""

    def start(self, output: Path) -> "subprocess.Popen[bytes]":
        """`dvc repro` in the background, in a session of its own; what it says goes into a file."""
        # A shell that starts this in the background lets its children ignore Ctrl-C; a user's shell does not.
        ignored = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            with output.open("w") as file:
                return subprocess.Popen(
                    ["dvc", "repro", TARGET],
                    cwd=self.project.folder,
                    env=self.project.environment,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                )
        finally:
            signal.signal(signal.SIGINT, ignored)

    def _killed_run(self, kill: Kill, after: float) -> tuple[str, bool, str]:
        """Run and send the signal; what it hit, empty where the run ended before, if it hung, and what it said."""
        output = self.project.folder.with_suffix(".output")
        process = self.start(output)
        time.sleep(after)
        hit, hung = _signal(process, kill), False
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            hung = True
            _end(process.pid)
            process.wait()
        return hit, hung, output.read_text()

    def _outcome(self, returncode: int, text: str) -> str:
        if returncode:
            return "lost: the next run failed"
        if self.project.digests() != self.digests:
            return "wrong: other artifacts"
        if self.lock() != self.locked:
            return "wrong: another lock"
        left = [line for line in self.project.status().splitlines() if not line.endswith(" dvc.lock")]
        if left:
            return f"wrong: left behind {left}"
        living = [process.info["pid"] for process in psutil.process_iter(["pid", "cwd"]) if self._is_here(process)]
        return f"lost: processes live on {living}" if living else "right"

    def _is_here(self, process: psutil.Process) -> bool:
        return process.info["cwd"] == str(self.project.folder)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _signal(process: "subprocess.Popen[bytes]", kill: Kill) -> str:
    """Send the signal as soon as there is somebody of that level to get it; who it was, empty if nobody came."""
    begin = time.monotonic()
    while process.poll() is None and time.monotonic() - begin < PATIENCE:
        targets = _targets(process.pid, kill.level)
        if targets:
            hit = _name(targets[0])
            for target in targets:
                try:
                    target.send_signal(signal.Signals[kill.signal])
                except psutil.NoSuchProcess:
                    continue
            return hit
        time.sleep(0.01)
    return ""


def _targets(dvc: int, level: str) -> list[psutil.Process]:
    try:
        top = psutil.Process(dvc)
        below = top.children(recursive=True)
        if level == "dvc":
            return [top]
        if level == "all":
            return [top, *below]
        mark = "spawn_main" if level == "worker" else "stages."
        return [process for process in below if mark in " ".join(process.cmdline())][:1]
    except psutil.NoSuchProcess:
        return []


def _name(process: psutil.Process) -> str:
    """The stage that was at work, or DVC itself between two."""
    try:
        family = [process, *process.parents(), *process.children(recursive=True)]
        parts = [part for member in family for part in member.cmdline()]
        return next((part.removeprefix("stages.") for part in parts if part.startswith("stages.")), "dvc")
    except psutil.NoSuchProcess:
        return "dvc"


def _end(session: int) -> None:
    for process in psutil.process_iter(["pid"]):
        try:
            if os.getsid(process.pid) == session:
                process.kill()
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue


def run(folder: Path, seed: int, numbers: range, results: Path) -> Counter[str]:
    """Strike with the given numbers, append a line to the results after each, and count the outcomes."""
    field = Range(folder)
    counts: Counter[str] = Counter()
    for number in numbers:
        result = field.strike(draw(seed, number, field.stages))
        with results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        counts[result["outcome"].split(":")[0]] += 1
        sys.stderr.write(f"{number}: {result['signal']} to {result['level']} at {result['hit']}: {result['outcome']}\n")
        if result["outcome"].startswith(("wrong", "lost")):  # what follows needs a whole field again
            shutil.rmtree(folder)
            field = Range(folder)
    return counts


def struck(results: Path) -> int:
    """How many lines of the results are of processes that a signal reached."""
    outcomes = [json.loads(line)["outcome"] for line in results.read_text().splitlines()]
    return sum(not outcome.startswith("no kill") for outcome in outcomes)


def main() -> int:
    """Go on until the results hold as many kills as are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many in all")
    parser.add_argument("--chunk", type=int, default=1000, help="stop after this many in one go")
    parser.add_argument("--seed", type=int, default=8, help="of the sequence")
    parser.add_argument("--results", type=Path, default=Path("metrics/benchmarks/kills.jsonl"))
    arguments = parser.parse_args()
    arguments.results.touch()
    left = arguments.chunk
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # A run may end before it is struck; that is a line of the file and no kill.
        while (wanted := min(arguments.kills - struck(arguments.results), left)) > 0:
            done = len(arguments.results.read_text().splitlines())
            run(Path(folder) / f"project-{done}", arguments.seed, range(done, done + wanted), arguments.results)
            left -= wanted
    lines = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    counts = Counter(line["outcome"].split(":")[0] for line in lines)
    sys.stdout.write(f"{arguments.results}: " + ", ".join(f"{n} {name}" for name, n in counts.most_common()) + "\n")
    return int(counts["wrong"] + counts["lost"] > 0)


if __name__ == "__main__":
    sys.exit(main())
