# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The code that a result depends on, found by walking imports from a module through the project."""

import ast
import hashlib
import importlib.metadata
import json
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("stages", "models", "kernels")


def module_file(name: str) -> Path | None:
    """File of a project module by its dotted name, or None if the project has no such module."""
    if name.split(".")[0] not in PACKAGES:
        return None
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported_modules(file: Path) -> set[str]:
    """Dotted names that a file imports anywhere in it, within functions too, and `from x import module`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@cache
def project_modules(module: str) -> tuple[str, ...]:
    """A module and every project module that it imports, directly or not, sorted.

    Package files that hold nothing but a docstring are left out: nothing depends on them.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = module_file(name)
        if file is None or name in found:
            continue
        found.add(name)
        waiting.extend(imported_modules(file))
        waiting.extend(parent for parent in [name.rpartition(".")[0]] if parent)  # its package runs first
    return tuple(sorted(name for name in found if not _is_empty(name)))


def project_files(module: str) -> list[Path]:
    """Files of a module and of all that it imports in the project, and the CUDA sources of the kernels among them."""
    files = [file for name in project_modules(module) if (file := module_file(name)) is not None]
    if any(file.is_relative_to(ROOT / "kernels") for file in files):
        files += (ROOT / "kernels").rglob("*.cu*")
    return sorted(files)


def _is_empty(module: str) -> bool:
    file = module_file(module)
    if file is None or file.name != "__init__.py":
        return False
    return all(isinstance(node, ast.Expr) for node in ast.parse(file.read_text()).body)


@cache
def code_digest(module: str) -> str:
    """SHA-256 over the meaning of a module's code and of all it imports in the project.

    Comments, docstrings and layout do not count: they cannot change a result.
    """
    digest = hashlib.sha256()
    for file in project_files(module):
        text = json.dumps(_meaning(ast.parse(file.read_text()))) if file.suffix == ".py" else file.read_text()
        digest.update(f"{file.relative_to(ROOT).as_posix()}\n{text}\n".encode())
    return digest.hexdigest()


def _meaning(node: object) -> object:
    """A syntax tree as plain lists, without docstrings and empty fields: the same on every version of Python."""
    if isinstance(node, list):
        return [_meaning(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, []) and name != "kind"}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _has_docstring(node):
        fields["body"] = node.body[1:]
    return [type(node).__name__, *([name, _meaning(value)] for name, value in fields.items())]


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)


def package_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of distributions, by name."""
    return {name: importlib.metadata.version(name) for name in sorted(packages)}
