# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Looking at a log: recordings for rerun, pictures and films."""
