# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Each stage reads what dvc.yaml declares and nothing else, and writes its outputs, watched from outside."""

import re
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.kills import TINY
from tests.pipeline.access import Access, Watch, has_strace, keeps_access_times, watch_access_times, watch_calls
from tests.pipeline.project import Project, make_project

PACKAGES = str(Path(sysconfig.get_paths()["purelib"]).resolve())

# Undeclared by design, each with its reason.
FREE = {
    "params.yaml": "declared by its keys, and read whole so that a bad value stops the first stage",
    ".scratch/": "the store: what it holds is found by the digest of all that determines it",
    "compute.yaml": "how to compute, not what",
    "stages/": "code: compared with the imports by tests/pipeline/test_dvc_yaml.py; the check of all parameters",
    "models/": "loads the dataclasses of every stage",
    "kernels/": "as above",
    ".git/": "DVCLive opens the repository that it runs in, and is told to record nothing there",
    ".gitignore": "the same",
    ".dvc/": "the same",
    ".dvcignore": "the same",
}
# Declared and not read by the small run, each with its reason.
UNREAD = {"teach": "its frames and ground are for a teacher, and the default has none"}
# Outside the project, where strace sees it: the machine, Python and its packages.
PYTHON = (sys.prefix, str(Path(sys.prefix).resolve()), sys.base_prefix, PACKAGES)
SYSTEM = ("/usr/", "/lib", "/etc/", "/proc/", "/sys/", "/dev/", "/var/lib/", *PYTHON)
HOME = str(Path.home())
SCRATCH = (
    "/dev/",  # semaphores
    "/proc/",
    "/tmp/",  # the log of dufomap, probes of DVC for what links it may make
    "/var/tmp/dvc/",  # DVC's own record of digests, which DVCLive opens with the repository
)
SYSTEM += (*SCRATCH, f"{HOME}/.gitconfig", f"{HOME}/.config/git", f"{HOME}/.cache/matplotlib")  # likewise
PARTIAL = re.compile(r"(^|/)\.([^/]+?)(?:\.\d+)?\.partial/")
RAW = "data/raw/"  # ingest may read raw logs: the catalog, which it declares, holds their digests


@dataclass(frozen=True)
class Declared:
    """What dvc.yaml says of one stage."""

    name: str
    command: list[str]
    deps: set[str]
    outs: set[str]


def declared_stages(folder: Path) -> list[Declared]:
    """Every stage of a project in the order of its dependencies, as DVC itself resolves dvc.yaml."""
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    def places(ends: list) -> set[str]:
        return {Path(end.fs_path).relative_to(folder).as_posix() for end in ends} - {"params.yaml"}

    with Repo(str(folder)) as repo:
        return [
            Declared(
                stage.addressing.rpartition(":")[2],
                stage.cmd.split(),
                {
                    Path(dep.fs_path).relative_to(folder).as_posix()
                    for dep in stage.deps
                    if dep.fs_path != "params.yaml"
                },
                {Path(out.fs_path).relative_to(folder).as_posix() for out in stage.outs},
            )
            for stage in plan_repro(repo.index.graph)
        ]


def below(name: str, places: set[str]) -> bool:
    """Whether a file lies in one of the places; an output in the making counts as the output."""
    name = PARTIAL.sub(r"\1\2/", name)
    return any(name == place or name.startswith(f"{place}/") for place in places)


def outside(stage: Declared, access: Access) -> list[str]:
    """What a stage read or opened for writing beyond the project, the machine's own files left out."""
    reads = [name for name in access.read if name.startswith("/") and not name.startswith(tuple(SYSTEM))]
    writes = [name for name in access.opened_to_write if name.startswith("/") and not name.startswith(tuple(SCRATCH))]
    return [f"{stage.name} reads {n}" for n in sorted(reads)] + [f"{stage.name} writes {n}" for n in sorted(writes)]


def is_empty(path: Path) -> bool:
    """Whether it is a folder without files, as the boxes of a split that has none."""
    return path.is_dir() and not any(path.iterdir())


def undeclared(stage: Declared, access: Access, folder: Path) -> list[str]:
    """What a stage did beyond its declaration, and what it declares without need, a line each."""
    places = stage.deps | stage.outs | ({RAW.rstrip("/")} if stage.name.startswith("ingest") else set())
    data = {name for name in access.read if not name.startswith(("/", *FREE))}
    read = [f"{stage.name} reads {name}" for name in sorted(data) if not below(name, places)]
    changed = {name for name in access.written if not name.startswith(tuple(FREE))}
    written = [f"{stage.name} writes {name}" for name in sorted(changed) if not below(name, stage.outs)]
    opened = [f"{stage.name} opens {name} for writing" for name in access.opened_to_write if below(name, stage.deps)]
    needless = [
        f"{stage.name} never reads {dep}"
        for dep in sorted(stage.deps)
        if dep.startswith("data/")
        and stage.name not in UNREAD
        and not is_empty(folder / dep)
        and not any(below(name, {dep}) for name in access.read)
    ]
    idle = [
        f"{stage.name} does not write {out}"
        for out in sorted(stage.outs)
        if not is_empty(folder / out) and not any(below(name, {out}) for name in changed)
    ]
    return read + written + opened + needless + idle


@pytest.fixture(
    scope="module", params=[pytest.param("access times"), pytest.param("strace", marks=pytest.mark.slow)], ids=str
)
def watch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Watch:
    if request.param == "strace":
        if not has_strace():
            pytest.skip("needs strace and the right to trace")
        return watch_calls
    if not keeps_access_times(tmp_path_factory.mktemp("times")):
        pytest.skip("the temporary folder is mounted without access times; set TMPDIR to one that keeps them")
    return watch_access_times


@pytest.fixture(scope="module")
def watched(watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, Declared], list[str]]:
    """A project, its stages, and what they did beyond their declaration: each ran once, without DVC, in order."""
    project = make_project(tmp_path_factory.mktemp("watched"), {**TINY, "simulate.test.logs": 1})
    stages = declared_stages(project.folder)
    faults = []
    for stage in stages:
        access = watch(project, stage.command)
        faults += undeclared(stage, access, project.folder) + outside(stage, access)
    return project, {stage.name: stage for stage in stages}, faults


def test_stages_read_and_write_what_they_declare(watched: tuple[Project, dict[str, Declared], list[str]]) -> None:
    _, stages, faults = watched
    assert len(stages) > 20
    assert faults == [], "\n".join(faults)


@pytest.mark.parametrize("how", ["read_bytes()", "open('rb').read(1)"])
def test_an_undeclared_read_is_found(
    how: str, watched: tuple[Project, dict[str, Declared], list[str]], watch: Watch
) -> None:
    """Clustering that peeks at the truth, in a worker process, as a hasty change might have it."""
    peek(watched, watch, f"(_P('data/truth/train') / f'{{log_id}}.h5').{how}", "data/truth/train")


def test_an_undeclared_read_by_a_library_is_found(
    watched: tuple[Project, dict[str, Declared], list[str]], watch: Watch
) -> None:
    """HDF5 opens files in C, where Python's own hooks see nothing."""
    peek(watched, watch, "__import__('h5py').File(f'data/truth/train/{log_id}.h5', 'r').keys()", "data/truth/train")


def peek(watched: tuple[Project, dict[str, Declared], list[str]], watch: Watch, code: str, place: str) -> None:
    project, stages, _ = watched
    path = project.folder / "stages/labels/cluster.py"
    text = path.read_text()
    end = '    """Fused labels of one log, from its `frames`, `ground` and `dynamic` to `clusters`."""\n'
    body = text.index(end) + len(end)
    path.write_text(f"{text[:body]}    from pathlib import Path as _P; {code}\n{text[body:]}")
    try:
        found = undeclared(stages["cluster"], watch(project, stages["cluster"].command), project.folder)
    finally:
        path.write_text(text)
    logs = sorted(file.name for file in (project.folder / place).iterdir())
    assert found == [f"cluster reads {place}/{log}" for log in logs]
