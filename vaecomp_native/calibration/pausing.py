"""Functions that run in threads of their own, one at a time, and pause where they want."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Generic, TypeVar

import torch

from vaecomp_native.errors import CalibrationError

At = TypeVar("At")
DEVICES = "cpu", "cuda", "mps"
"""The devices whose precision autocast may set."""


class Pausing(Generic[At]):
    """A function that works only inside `proceed`, up to its next call of `pause`.

    Torch keeps modes, precision and the default device for each thread. So every function has its
    own, and begins with those of the thread that makes this object.
    """

    def __init__(self, function: Callable[[Callable[[At], None]], None]) -> None:
        """Take a function of `pause`, whose argument is what `at` is during the pause."""
        self.at: At | None = None
        """Where it pauses. None before it begins and after it ends."""
        self._function = function
        self._settings = _settings()
        self._context = contextvars.copy_context()
        self._thread: threading.Thread | None = None
        self._may_work, self._has_stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._is_abandoned = False
        self._error: BaseException | None = None

    def proceed(self) -> None:
        """Work to the next pause or the end. Raises what the function raises.

        Raises CalibrationError if the system allows no more threads.
        """
        if self._thread is None:
            self._thread = self._started()
        else:
            self._may_work.release()
        self._has_stopped.acquire()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """End it where it pauses, so that what it holds is freed."""
        self._is_abandoned = True
        if self._thread is not None:
            self._may_work.release()
            self._thread.join()

    def _started(self) -> threading.Thread:
        run = self._context.run
        thread = threading.Thread(target=lambda: run(self._main), daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise CalibrationError(
                f"no thread can be started for another batch ({error}): give fewer batches, or "
                "raise the limit of processes"
            ) from error
        return thread

    def _main(self) -> None:
        try:
            with ExitStack() as stack:
                for setting in self._settings:
                    stack.enter_context(setting)
                self._function(self._pause)
        except _AbandonedError:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self.at = None
            self._has_stopped.release()

    def _pause(self, at: At) -> None:
        if not self._is_abandoned:
            self.at = at
            self._has_stopped.release()
            self._may_work.acquire()
            self.at = None
        if self._is_abandoned:
            raise _AbandonedError


class _AbandonedError(BaseException):
    """Ends a function where it pauses. No `except Exception` catches it."""


def _settings() -> list[AbstractContextManager[object]]:
    """What torch keeps for this thread, to be entered in another one."""
    precisions = [
        torch.autocast(
            device, torch.get_autocast_dtype(device), enabled=torch.is_autocast_enabled(device)
        )
        for device in DEVICES
        if torch.is_autocast_enabled(device)
    ]
    device = torch.get_default_device()
    return [*precisions, *([device] if device.type != "cpu" else [])]
