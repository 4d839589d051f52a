# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which data the pipeline runs on: section `data` of params.yaml."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DataParameters:
    """Section `data`.

    Attributes:
        source: `simulated`; `av2`, logs in Argoverse 2's layout, or `folder`, plain folders of arrays, under the root
            that the machine names.
    """

    source: Literal["simulated", "av2", "folder"]
