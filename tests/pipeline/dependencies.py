# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Code dependencies of each stage by its imports: compared with dvc.yaml by a test, written into it by `make deps`."""

import io
from pathlib import Path

from ruamel.yaml import YAML

from stages.pipeline.code import PACKAGES, ROOT, project_files

SHARED = "stages/pipeline"  # what every stage shares is one dependency


def code_dependencies(stage: str) -> set[str]:
    """Files of the project that a stage's module imports, those that every stage shares as their folder."""
    files = {file.relative_to(ROOT).as_posix() for file in project_files(f"stages.{stage}")}
    return {SHARED if file.startswith(f"{SHARED}/") else file for file in files}


def is_code(dependency: str) -> bool:
    """Whether a dependency of dvc.yaml is code, not data."""
    return dependency.split("/")[0] in PACKAGES


def declared(definition: dict) -> dict:
    """The part of a stage definition that holds deps: the body of a foreach, or the definition itself."""
    return definition.get("do", definition)


def main() -> None:
    """Write the code dependencies into dvc.yaml, sorted, before the data dependencies."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = Path(ROOT) / "dvc.yaml"
    content = yaml.load(path.read_text())
    for name, definition in content["stages"].items():
        body = declared(definition)
        data = [dep for dep in body.get("deps", []) if not is_code(str(dep))]
        deps = [*sorted(code_dependencies(name)), *data]
        if "deps" in body:
            body["deps"][:] = deps
        else:
            body.insert(list(body).index("cmd") + 1, "deps", deps)
    text = io.StringIO()
    yaml.dump(content, text)
    path.write_text(text.getvalue())


if __name__ == "__main__":
    main()
