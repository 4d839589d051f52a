# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""docs/parameters.md is what `make docs` writes, and names every key."""

import pytest
import yaml

from stages.pipeline.code import ROOT
from tests.docs.parameters import PAGE, page, read_lines

TEXT = (ROOT / "params.yaml").read_text()


def test_the_page_is_in_step() -> None:
    assert PAGE.read_text() == page(TEXT), "params.yaml changed: run `make docs`"


def test_every_key_is_there_with_its_value() -> None:
    """By a parser of YAML, which knows nothing of comments."""

    def leaves(content: object, prefix: str = "") -> dict[str, object]:
        if not isinstance(content, dict):
            return {prefix: content}
        parts = [leaves(value, f"{prefix}.{key}".lstrip(".")) for key, value in content.items()]
        return {name: value for part in parts for name, value in part.items()}

    found = {line.name: yaml.safe_load(line.value) for line in read_lines(TEXT) if line.value}
    assert found == leaves(yaml.safe_load(TEXT))


def test_by_hand() -> None:
    text = "# head\na:  # section\n  b: 1  # first | one\n  c:\n    d: [1, 2]  # second\n"
    assert page(text).endswith(
        "\n## a\n\n| parameter | default | meaning |\n|---|---|---|\n"
        "| `a.b` | `1` | first \\| one |\n| `a.c.d` | `[1, 2]` | second |\n"
    )


def test_a_line_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="params.yaml:2 is no"):
        read_lines("a:\n  - b\n")
