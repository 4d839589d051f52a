# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What the lock says of a number, and whether lock and files agree, on a small pipeline of the real DVC."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from models.errors import InputError
from stages.explain import explain
from stages.pipeline.code import ROOT
from stages.tracking.chain import chain, parse_lock

PIPELINE = {
    "stages": {
        "count": {
            "cmd": "mkdir -p data/parts && python stages/count.py",
            "deps": ["stages/count.py"],
            "params": ["count.to"],
            "outs": ["data/numbers.txt", "data/parts"],
        },
        "evaluate": {
            "cmd": "mkdir -p metrics && python stages/evaluate.py",
            "deps": ["stages/evaluate.py", "data/numbers.txt"],
            "metrics": [{"metrics/val.json": {"cache": False}}],
        },
    }
}
COUNT = """\
import yaml
to = yaml.safe_load(open("params.yaml"))["count"]["to"]
open("data/numbers.txt", "w").write(str(to))
open("data/parts/a.txt", "w").write(f"a {to}")
open("data/parts/b.txt", "w").write(f"b {to}")
"""
EVALUATE = """\
import json
json.dump({"provenance": {"by": "hand"}, "sum": int(open("data/numbers.txt").read())}, open("metrics/val.json", "w"))
"""


def run(folder: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    identity = {f"GIT_{who}_{what}": "test@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **identity, "PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=check)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two stages that has run, with its results committed and pushed to a remote folder."""
    folder = tmp_path_factory.mktemp("original")
    (folder / "stages").mkdir()
    (folder / "stages/count.py").write_text(COUNT)
    (folder / "stages/evaluate.py").write_text(EVALUATE)
    (folder / "params.yaml").write_text("count: {to: 7}\n")
    (folder / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    run(folder, "git", "init", "--quiet")
    run(folder, "dvc", "init", "--quiet")
    run(folder, "dvc", "repro", "--quiet")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "results")
    return folder


@pytest.fixture
def clone(original: Path, tmp_path: Path) -> Path:
    """A bare clone: no data, no cache."""
    run(tmp_path, "git", "clone", "--quiet", str(original), "clone")
    return tmp_path / "clone"


def check(folder: Path) -> tuple[int, str]:
    result = run(folder, sys.executable, "-P", "-m", "stages.check", check=False)
    assert result.stderr == ""
    return result.returncode, result.stdout


def test_a_clone_without_data_agrees_and_says_that_it_has_no_remote(clone: Path) -> None:
    assert not (clone / "data/numbers.txt").exists()
    code, text = check(clone)
    assert code == 0
    assert "dvc.lock agrees" in text and "no remote is configured" in text


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("params.yaml", "count: {to: 8}\n", "count: parameters changed: count.to;"),
        ("stages/evaluate.py", EVALUATE + "# more\n", "evaluate: stages/evaluate.py changed;"),
        ("metrics/val.json", "{}", "evaluate: metrics/val.json is not the file that the stage wrote;"),
    ],
)
def test_what_differs_is_named(clone: Path, file: str, content: str, words: str) -> None:
    (clone / file).write_text(content)
    code, text = check(clone)
    assert code == 1
    assert words in text
    assert text.count("\n- ") + text.startswith("- ") == 1  # and nothing else


def test_locks_of_two_runs_that_were_mixed_are_found(clone: Path) -> None:
    lock = yaml.safe_load((clone / "dvc.lock").read_text())
    lock["stages"]["count"]["outs"][0]["md5"] = "0" * 32
    (clone / "dvc.lock").write_text(yaml.safe_dump(lock))
    code, text = check(clone)
    assert code == 1
    assert "evaluate: it last saw another data/numbers.txt than the lock names now" in text


def test_what_the_remote_lacks_is_named_until_it_is_pushed(original: Path, clone: Path, tmp_path: Path) -> None:
    for folder in (original, clone):
        run(folder, "dvc", "remote", "add", "--force", "--local", "--default", "share", str(tmp_path / "share"))
    code, text = check(clone)
    assert code == 1
    assert "data/numbers.txt is not in remote 'share'; run `make push`" in text
    run(original, "dvc", "push")
    assert check(clone) == (
        0,
        "dvc.lock agrees with code, parameters and the files in git\n"
        "remote 'share' holds every output that dvc.lock names\n",
    )
    digest = hashlib.md5(b"b 7", usedforsecurity=False).hexdigest()
    (tmp_path / f"share/files/md5/{digest[:2]}/{digest[2:]}").unlink()
    code, text = check(clone)
    assert code == 1
    assert text.splitlines()[1:] == ["- data/parts/b.txt is not in remote 'share'; run `make push`"]


@pytest.mark.parametrize("content", ["[{", "{}", '[{"relpath": "a.txt"}]'])
def test_a_damaged_list_in_the_remote_is_named_and_can_be_sent_again(
    original: Path, clone: Path, tmp_path: Path, content: str
) -> None:
    for folder in (original, clone):
        run(folder, "dvc", "remote", "add", "--force", "--local", "--default", "share", str(tmp_path / "share"))
    run(original, "dvc", "push")
    listing = next((tmp_path / "share/files/md5").rglob("*.dir"))
    listing.chmod(0o644)
    listing.write_text(content)
    code, text = check(clone)
    assert code == 1
    said = "data/parts cannot come from remote 'share' (its list is damaged there); remove"
    assert text.splitlines()[1:] == [f"- {said} {listing}, then `make push`"]
    listing.unlink()
    run(original, sys.executable, "-P", "-m", "stages.push")
    assert check(clone)[0] == 0


def test_explanation_names_the_whole_chain(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    text = explain(Path("metrics/val.json"))
    assert text.index("stage count: ") < text.index("stage evaluate: ")
    assert "with   count.to: 7" in text
    assert "by: hand" in text
    commit = run(clone, "git", "rev-parse", "HEAD").stdout.strip()
    assert f"git checkout {commit}" in text
    assert "warning" not in text
    (clone / "metrics/val.json").write_text(json.dumps({"sum": 9}))
    changed = explain(Path("metrics/val.json"))
    assert "warning: metrics/val.json is not what the stage wrote" in changed
    assert commit not in changed


def test_explanation_of_an_experiment(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock and the parameters are those of the experiment; the working tree keeps its own."""
    run(clone, "dvc", "exp", "run", "--quiet", "--temp", "--name", "eight", "-S", "count.to=8")
    monkeypatch.chdir(clone)
    text = explain(Path("metrics/val.json"), "eight")
    assert "with   count.to: 8" in text
    assert "warning" not in text
    commit = run(clone, "git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/eight").stdout.strip()
    assert f"dvc exp apply eight    # commit {commit}" in text
    assert explain(Path("metrics/val.json"), commit).count(f"git checkout {commit}") == 1
    assert "with   count.to: 7" in explain(Path("metrics/val.json"))
    run(clone, "dvc", "exp", "apply", "eight")
    run(clone, "dvc", "repro", "evaluate")
    assert json.loads((clone / "metrics/val.json").read_text())["sum"] == 8
    with pytest.raises(InputError, match=r"revision 'nine' is not in this repository"):
        explain(Path("metrics/val.json"), "nine")


def test_a_number_made_from_other_inputs_than_the_lock_describes(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `dvc repro count` with another parameter: evaluate has not run since."""
    monkeypatch.chdir(clone)
    (clone / "params.yaml").write_text("count: {to: 8}\n")
    run(clone, "dvc", "repro", "--quiet", "count")
    assert "warning: evaluate read data/numbers.txt 8f14e45fce, which is c9f0f895fb by now" in explain(
        Path("metrics/val.json")
    )


def test_what_cannot_be_explained_is_one_sentence(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    with pytest.raises(InputError, match=r"no stage in dvc.lock writes other.json; it knows metrics/val.json"):
        chain(parse_lock((clone / "dvc.lock").read_text()), "other.json")
    with pytest.raises(InputError, match=r"none.json does not exist; run `dvc repro`"):
        explain(Path("none.json"))
    (clone / "dvc.lock").write_text("")
    with pytest.raises(InputError, match=r"dvc.lock is damaged .* `git checkout dvc.lock`"):
        explain(Path("metrics/val.json"))
