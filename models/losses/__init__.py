# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Loss functions: plain functions of a batch and the predicted flow."""
