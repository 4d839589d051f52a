# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at a chosen moment of a real command: one line, exit code 130, no traceback and no half-written file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.pipeline.code import ROOT

# Python runs a module of this name at its start, here one that presses Ctrl-C when a certain module is looked for.
PRESS = """\
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
WEIGHTS = ROOT / "models/weights/default.safetensors"
COMMANDS = {
    "estimate": (["a.npy", "b.npy", "-o", "out"], "interrupted; the results that are there are complete"),
    "weights": (["export", str(WEIGHTS), "out.ckpt"], "interrupted"),
}


def run(folder: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "path").mkdir(exist_ok=True)
    (folder / "path/sitecustomize.py").write_text(PRESS.format(name=module))
    # A shell that starts the tests in the background lets its children ignore Ctrl-C; a user's shell does not.
    ignored = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{folder / 'path'}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        signal.signal(signal.SIGINT, ignored)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.npy", "b.npy")):
        np.save(tmp_path / name, np.random.default_rng(seed).uniform(-9, 9, (50, 3)).astype(np.float32))
    return tmp_path


@pytest.mark.parametrize("module", ["torch", "torch._opaque_base", "torch.cuda"])
@pytest.mark.parametrize("command", COMMANDS)
def test_while_torch_is_imported(folder: Path, command: str, module: str) -> None:
    """Before its C++ part starts, while that starts (it imports torch._opaque_base itself), and after."""
    arguments, line = COMMANDS[command]
    result = run(folder, module, "-m", f"stages.{command}", *arguments)
    assert (result.returncode, result.stderr, result.stdout) == (130, f"\n{line}\n", "")
    assert not list(folder.glob("out*"))


SCRIPT = """\
import sys
from pathlib import Path
from stages.frames.write import atomic
from stages.terminal.interrupt import run_command

def main():
    try:
        {before}
        with atomic(Path("result.txt")) as partial:
            partial.write_text("half")
            __import__("os").kill(__import__("os").getpid(), __import__("signal").SIGINT)
            partial.write_text("whole")
    finally:
        Path("cleaned").touch()

run_command(main, "the rest is kept")
"""


def test_between_imports_what_is_half_written_is_removed(folder: Path) -> None:
    (folder / "script.py").write_text(SCRIPT.format(before="pass"))
    result = run(folder, "-", "script.py")
    assert (result.returncode, result.stderr) == (130, "\ninterrupted; the rest is kept\n")
    assert (folder / "cleaned").exists()
    assert not list(folder.glob("*result.txt*"))


@pytest.mark.parametrize(("ending", "code"), [("return 0", 0), ("return 3", 3), ("return", 0), ("sys.exit('no')", 1)])
def test_without_ctrl_c_the_exit_code_is_the_commands(folder: Path, ending: str, code: int) -> None:
    (folder / "script.py").write_text(SCRIPT.format(before=ending))
    assert run(folder, "-", "script.py").returncode == code
