# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Reading Argoverse 2 logs as they lie on disk."""
