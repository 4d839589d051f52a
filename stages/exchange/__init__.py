# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Frames, labels and predictions in OpenSceneFlow's layout, both ways."""
