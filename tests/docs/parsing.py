# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A command judged by the parser of its own program, nothing run."""

import argparse
import contextlib
import io
import os
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from unittest import mock

import yaml

from stages.pipeline.code import ROOT, module_file
from stages.pipeline.compute import _VARIABLES

VARIABLES = {*_VARIABLES.values(), "AV2_ROOT", "PANDASET_ROOT"}
NOT_OURS = ("umask", "install", "rerun")  # programs whose arguments are not for us to judge


class Parsed(Exception):
    """The parser was content."""


def fault(words: tuple[str, ...]) -> str | None:
    """What is wrong with a command, None if its parser takes it."""
    program, rest = words[0], list(words[1:])
    if program == "python" and rest[:2] == ["-m", "pytest"]:
        return _pytest(rest[2:])
    if program == "python" and rest[:1] == ["-m"]:
        return _module(rest[1], rest[2:])
    if program in NOT_OURS:
        return None
    known = {"dvc": _dvc, "make": _make, "git": _git, "export": _export, "sed": _sed, ".venv/bin/pip": _pip}
    known["torchrun"] = _torchrun
    return known[program](rest) if program in known else f"{program} is no program that this test can parse"


def _module(name: str, arguments: list[str]) -> str | None:
    """Run a module up to the end of its parsing."""
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    if not path.is_file():
        return f"there is no module {name}"
    if '"__main__"' not in path.read_text():
        return f"{name} is no command: it parses no arguments"
    if name.startswith("tests."):
        return None  # a tool of the tests may read its arguments without a parser, and would run
    original = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, args: list[str] | None = None, namespace: object = None) -> None:
        original(parser, args, namespace)  # type: ignore[call-overload]
        raise Parsed

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
        mock.patch.object(sys, "argv", [str(path), *arguments]),
        _quiet() as said,
        contextlib.chdir(ROOT),
    ):
        try:
            runpy.run_module(name, run_name="__main__")
        except Parsed:
            return None
        except SystemExit as end:  # with 0 after --help
            return said.getvalue().strip().splitlines()[-1] if end.code else None
    return f"{name} parses no arguments with argparse"


def _pytest(arguments: list[str]) -> str | None:
    markers = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"])
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == "-m" and following not in markers:
            return f"there is no marker {following}"
        if "/" in word and not (ROOT / word).exists():
            return f"there is no {word}"
    return None


def _torchrun(arguments: list[str]) -> str | None:
    from torch.distributed.run import get_args_parser

    with _quiet() as said:
        try:
            module = get_args_parser().parse_args(arguments).training_script
        except SystemExit:
            return said.getvalue().strip().splitlines()[-1]
    return None if module_file(module) else f"there is no module {module}"


def _dvc(arguments: list[str]) -> str | None:
    from dvc.cli import DvcParserError
    from dvc.cli.parser import get_main_parser

    with _quiet():
        try:
            # A group of commands alone, as `dvc plots`, asks for one of them; its help it takes.
            get_main_parser().parse_args(arguments if len(arguments) > 1 else [*arguments, "--help"])
        except (DvcParserError, SystemExit) as end:
            if isinstance(end, SystemExit) and not end.code:
                return None
            return f"dvc does not take these arguments; see `dvc {arguments[0]} --help`"
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if arguments[0] == "repro" and word != "repro" and word[0] != "-" and word.split("@")[0] not in stages:
            return f"dvc.yaml has no stage {word}"
        if word == "-S" and not is_parameter(following.split("=")[0]):
            return f"params.yaml has no {following.split('=')[0]}"
    return None


@cache
def _parameters() -> object:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def is_parameter(name: str) -> bool:
    """Whether params.yaml has this dotted name, a section or a key."""
    value = _parameters()
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _make(arguments: list[str]) -> str | None:
    text = (ROOT / "Makefile").read_text()
    for word in arguments:
        name = word.split("=")[0]
        if "=" in word and f"$({name})" not in text:
            return f"the Makefile reads no {name}"
        if "=" not in word and not word.startswith("-") and not re.search(rf"^{re.escape(word)}:", text, re.MULTILINE):
            return f"the Makefile has no target {word}"
    return None


def _git(arguments: list[str]) -> str | None:
    if arguments[0] != "checkout":
        return f"git {arguments[0]} is not known to this test"
    missing = [name for name in arguments[1:] if name != "HEAD" and not (ROOT / name).exists()]
    return f"there is no {missing[0]}" if missing else None


def _export(arguments: list[str]) -> str | None:
    name = arguments[0].split("=")[0]
    return None if name in VARIABLES else f"nothing reads the variable {name}"


def _sed(arguments: list[str]) -> str | None:
    """`sed -i s/old/new/ file`: the file must hold what is to be replaced."""
    flag, script, file = arguments
    mark = script[1]  # what follows s parts the pattern
    _, old, new, *_ = script.split(mark)
    text = (ROOT / file).read_text()
    fine = flag == "-i" and script[0] == "s" and old != new and re.search(old, text)
    return None if fine else f"{file} does not hold {old!r}"


def _pip(arguments: list[str]) -> str | None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = re.fullmatch(r"\.\[([\w,]+)\]", arguments[-1])
    if arguments[:-1] != ["install", "-e"] or not wanted:
        return f"pip {' '.join(arguments)} is not known to this test"
    unknown = set(wanted[1].split(",")) - set(extras)
    return f"pyproject.toml has no extra {unknown.pop()}" if unknown else None


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    text = io.StringIO()
    with contextlib.redirect_stderr(text), contextlib.redirect_stdout(text), mock.patch.dict(os.environ):
        yield text
