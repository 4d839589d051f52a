# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU side: compiled at first use, nothing is loaded when the package is imported."""
