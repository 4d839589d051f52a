# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What DVC and git know of the pipeline: whether lock and files agree, and what made a number."""
