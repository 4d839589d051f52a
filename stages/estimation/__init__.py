# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Flow for anybody's clouds: files in, checks, ego motion, the network, files out."""
