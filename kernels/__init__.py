# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Exact nearest neighbours and chamfer terms on CPU and GPU."""

from kernels.chamfer import truncated_chamfer
from kernels.search import Nearest, Search, nearest, nearest_both

__all__ = ["Nearest", "Search", "nearest", "nearest_both", "truncated_chamfer"]
