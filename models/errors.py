# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The one exception for faults in a user's data, files or parameters."""


class InputError(ValueError):
    """A fault in what the user gave, told in one sentence.

    The sentence names the log, file or parameter and says what to do. A stage prints it without a
    traceback and exits with status 1; every other exception is a defect of the program and keeps its
    traceback.
    """
