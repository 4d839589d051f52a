# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Published checkpoints: read without running anything in them, and fed the frames that they were trained on."""
