# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One small project for all tests of faults: each leaves it as it found it."""

import pytest

from tests.faults.kills import Range


@pytest.fixture(scope="session")
def field(tmp_path_factory: pytest.TempPathFactory) -> Range:
    """A small project whose pipeline has run once."""
    return Range(tmp_path_factory.mktemp("faults") / "project")
