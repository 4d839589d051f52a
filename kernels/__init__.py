# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Exact nearest neighbours and chamfer terms on CPU and GPU."""
