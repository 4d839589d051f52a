# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ground, truth, dynamic points, clusters and their quality: plain functions of one log."""
