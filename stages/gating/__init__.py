# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The metric gate: today's metric files against those of another revision, by written rules."""
