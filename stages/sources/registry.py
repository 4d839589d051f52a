# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which adapter reads which `data.source`: a new data set is one more line here."""

from stages.av2.adapter import Av2
from stages.folder.adapter import Folder
from stages.sources.adapter import Adapter

ADAPTERS: dict[str, Adapter] = {"simulated": Av2(), "av2": Av2(), "folder": Folder()}
