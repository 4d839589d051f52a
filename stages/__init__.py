# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of the pipeline, one module each, and the plain functions they call, grouped by subject."""
