# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What must be settled before any test imports torch, and the one project that several tests look at."""

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pipeline.project import Project

# Threads that wait by spinning starve each other where other work shares the cores: a training of seconds took minutes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> "Project":
    """A project whose pipeline has run once and whose results are committed; a test leaves it as it was."""
    from tests.pipeline.project import SMALL, make_project

    project = make_project(tmp_path_factory.mktemp("project"), SMALL)
    project.repro()
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "results")
    return project
