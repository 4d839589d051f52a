# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One artifact cache for a team, over each kind of remote that docs/sharing.md names: real services, the real DVC."""

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.pipeline.project import SMALL, Project, make_project
from tests.pipeline.services import Remote, free_port, make_without_setup, s3, shared_folder, ssh

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KINDS = {"folder": shared_folder, "s3": s3, "ssh": ssh}
TRIED = {"predict.minimum_length": 0.05}
TOUCHED = {"predict@val", "predict@test", "evaluate", "submit", "render"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pipeline has run once and whose results are committed; another parameter was tried."""
    project = make_project(tmp_path_factory.mktemp("project"), SMALL)
    make_without_setup(project)
    project.repro()
    commit(project, "results")
    with changed(project):
        assert project.repro().ran == TOUCHED
    assert project.repro().ran == set()
    assert project.status() == ""
    return project


@pytest.fixture(scope="module", params=KINDS)
def remote(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A running service of each kind."""
    with KINDS[request.param](tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture(scope="module")
def team(original: Project, remote: Remote) -> Project:
    """The project with this remote as the shared one, named in git, and everything in it sent there."""
    original.run("make", "share", f"URL={remote.url}")
    commit(original, "a shared remote")
    project = remote.join(original)
    assert "objects sent" in project.run("make", "--silent", "push", "ALL=1").stdout
    assert "the remote holds everything already" in project.run("make", "--silent", "push", "ALL=1").stdout
    return project


@pytest.fixture
def colleague(team: Project, remote: Remote, tmp_path: Path) -> Project:
    """A fresh clone, with nothing but what is in git."""
    return clone(team, remote, tmp_path / "clone")


def clone(team: Project, remote: Remote, folder: Path) -> Project:
    team.run("git", "clone", "--quiet", str(team.folder), str(folder))
    project = remote.join(Project(folder, team.environment))
    make_without_setup(project)
    return project


def commit(project: Project, message: str) -> None:
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", message)


@contextmanager
def changed(project: Project) -> Iterator[None]:
    """The project with the parameter that was tried."""
    project.set(TRIED)
    yield
    project.run("git", "checkout", "--quiet", "params.yaml")


def output(project: Project, path: str) -> str:
    """Digest of an output in the lock, or of a file in an output that is a folder."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    digests = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    if path in digests:
        return str(digests[path])
    folder, name = path.rsplit("/", 1)
    listing = digests[folder]
    entries = json.loads((project.folder / f".dvc/cache/files/md5/{listing[:2]}/{listing[2:]}").read_text())
    return str(next(entry["md5"] for entry in entries if entry["relpath"] == name))


def a_log(project: Project, split: str) -> str:
    return min(path.stem for path in (project.folder / "data/frames" / split).glob("*.h5"))


def test_a_clone_that_pulled_runs_nothing(team: Project, colleague: Project) -> None:
    colleague.run("dvc", "pull", "--run-cache")
    assert colleague.repro().ran == set()
    assert colleague.digests() == team.digests()
    assert colleague.status() == ""


def test_what_a_colleague_tried_is_fetched_with_its_scores(team: Project, colleague: Project) -> None:
    """Nothing is there but the run cache: the weights, the predictions and the metric file come from the remote."""
    colleague.run("dvc", "pull", "--run-cache")
    with changed(colleague):
        assert colleague.repro("--pull").ran == set()
        tried = colleague.digests()
    with changed(team):
        team.repro()
        assert tried == team.digests()
    team.repro()


def test_a_damaged_object_is_refused_and_made_again(team: Project, colleague: Project, remote: Remote) -> None:
    name = f"data/predictions/val/{a_log(team, 'val')}.h5"
    content = (team.folder / name).read_bytes()
    digest = output(team, name)
    remote.overwrite(digest, bytes([content[0] ^ 1]) + content[1:])
    try:
        refused = colleague.run("dvc", "pull", "--run-cache", check=False)
        assert refused.returncode != 0
        assert not (colleague.folder / name).exists()
        assert colleague.repro().ran == {"predict@val"}  # what follows from the same bytes is not run again
        assert colleague.digests() == team.digests()
    finally:
        remote.overwrite(digest, content)


def test_one_split_or_one_log_is_fetched_alone(team: Project, colleague: Project, tmp_path: Path) -> None:
    log = a_log(team, "train")
    colleague.run("dvc", "pull", f"data/frames/train/{log}.h5")
    assert [path.name for path in (colleague.folder / "data/frames/train").iterdir()] == [f"{log}.h5"]
    colleague.run("dvc", "pull", "data/frames/val")
    frames = [path.relative_to(colleague.folder).as_posix() for path in (colleague.folder / "data").rglob("*.h5")]
    expected = [f"data/frames/val/{path.name}" for path in (team.folder / "data/frames/val").glob("*.h5")]
    assert sorted(frames) == sorted([f"data/frames/train/{log}.h5", *expected])


def test_another_project_takes_one_log(team: Project, tmp_path: Path) -> None:
    """`dvc get` copies it; `dvc import` also records where it came from."""
    log = a_log(team, "val")
    source = team.folder / f"data/frames/val/{log}.h5"
    team.run("dvc", "get", str(team.folder), f"data/frames/val/{log}.h5", "--out", str(tmp_path / "log.h5"))
    assert (tmp_path / "log.h5").read_bytes() == source.read_bytes()
    other = Project(tmp_path / "other", team.environment)
    other.folder.mkdir()
    other.run("git", "init", "--quiet")
    other.run("dvc", "init", "--quiet")
    other.run("dvc", "import", str(team.folder), f"data/frames/val/{log}.h5")
    assert (other.folder / f"{log}.h5").read_bytes() == source.read_bytes()
    revision = yaml.safe_load((other.folder / f"{log}.h5.dvc").read_text())["deps"][0]["repo"]["rev_lock"]
    assert revision == team.run("git", "rev-parse", "HEAD").stdout.strip()


def test_check_names_the_one_file_that_the_remote_lost(team: Project, colleague: Project, remote: Remote) -> None:
    assert "holds every output" in colleague.run("make", "--silent", "check").stdout
    name = f"data/frames/val/{a_log(team, 'val')}.h5"
    remote.remove(output(team, name))
    try:
        lost = colleague.run("python", "-m", "stages.check", check=False)
        assert lost.returncode == 1
        assert [line for line in lost.stdout.splitlines() if line.startswith("- ")] == [
            f"- {name} is not in remote 'share'; run `make push`"
        ]
    finally:
        remote.overwrite(output(team, name), (team.folder / name).read_bytes())


def test_a_server_that_is_down_is_one_sentence(colleague: Project, remote: Remote) -> None:
    if remote.url.startswith("/"):
        pytest.skip("a folder has no server")
    port = str(free_port())
    if remote.url.startswith("s3"):
        colleague.run("dvc", "remote", "modify", "--local", "share", "endpointurl", f"http://127.0.0.1:{port}")
        words = "Could not connect to the endpoint URL"
    else:
        colleague.run("dvc", "remote", "modify", "--local", "share", "port", port)
        words = f"Connect call failed ('127.0.0.1', {port})"
    pull = colleague.run("dvc", "pull", "data/weights/flow.safetensors", check=False)  # S3: ten seconds an output
    assert pull.returncode != 0
    assert words in pull.stdout
    assert "Traceback" not in pull.stdout
    for module in ("check", "push"):
        told = colleague.run("python", "-m", f"stages.{module}", check=False)
        assert told.returncode == {"check": 2, "push": 1}[module]
        assert words in told.stdout
        assert "Traceback" not in told.stdout


def test_a_wrong_key_is_one_sentence(colleague: Project, remote: Remote) -> None:
    keys = dict(remote.settings).get("keyfile")
    if keys is None:
        pytest.skip("only SSH has keys that this service checks")
    colleague.run("dvc", "remote", "modify", "--local", "share", "keyfile", str(Path(keys).with_name("stranger")))
    for command in (["dvc", "pull"], ["python", "-m", "stages.check"], ["python", "-m", "stages.push"]):
        told = colleague.run(*command, check=False)
        assert told.returncode != 0
        assert "Permission denied" in told.stdout
        assert "Traceback" not in told.stdout


def by(umask: str, project: Project, *command: str) -> str:
    """A command of a user with this file creation mask."""
    return project.run("sh", "-c", f'umask {umask}; exec "$@"', "sh", *command).stdout


def test_two_clones_of_one_machine_share_a_cache(original: Project, tmp_path: Path) -> None:
    """One copy on disk, a tried parameter is there for the other, and the group may write wherever DVC will write."""
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o2775)
    cache.chmod(0o2775)
    folders = [tmp_path / "first", tmp_path / "second"]
    projects = [Project(folder, original.environment) for folder in folders]
    for project in projects:
        original.run("git", "clone", "--quiet", str(original.folder), str(project.folder))
        project.run("dvc", "config", "--local", "cache.dir", str(cache))
        project.run("dvc", "config", "--local", "cache.shared", "group")
    first, second = projects
    first.run("dvc", "remote", "add", "--local", "--default", "start", str(original.folder / ".dvc/cache"))
    by("002", first, "dvc", "pull", "--run-cache")
    by("002", second, "dvc", "checkout")
    assert second.repro().ran == set()
    log = f"data/frames/val/{a_log(first, 'val')}.h5"
    assert (first.folder / log).samefile(second.folder / log)
    with changed(first), changed(second):
        by("002", first, "dvc", "repro", "--force", "--single-item", "predict@val")
        assert second.repro("predict@val").ran == set()
    folders = [path for path in cache.rglob("*") if path.is_dir()]
    assert not [path for path in folders if not path.stat().st_mode & stat.S_IWGRP]
    assert not any(path.stat().st_mode & 0o222 for path in (cache / "files").rglob("*") if path.is_file())
