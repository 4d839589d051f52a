# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Progress of work over logs: logs and sweeps done, found in the store, and time left."""

from types import TracebackType

from tqdm import tqdm


class Progress:
    """A progress bar on standard error that counts sweeps, or logs where their sweeps are unknown.

    Args:
        title: what is being done, as `ground train`.
        logs: number of logs.
        sweeps: number of sweeps of all logs together; 0 if unknown.
    """

    def __init__(self, title: str, logs: int, sweeps: int) -> None:
        self._by_sweep = sweeps > 0
        self._logs, self._done, self._found = logs, 0, 0
        self._bar = tqdm(
            total=sweeps if self._by_sweep else logs,
            desc=title,
            unit="sweep" if self._by_sweep else "log",
            mininterval=0.5,
            dynamic_ncols=True,
            disable=logs == 0,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._bar.close()

    def log_done(self, sweeps: int, found: bool) -> None:
        """Count one finished log, `found` in the store or computed."""
        self._done += 1
        self._found += found
        text = f"{self._done}/{self._logs} logs"
        self._bar.set_postfix_str(f"{text}, {self._found} from the store" if self._found else text, refresh=False)
        self._bar.update(sweeps if self._by_sweep else 1)
