"""The line of the user's code that a warning is about."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any, NamedTuple

logger = logging.getLogger("aiocredentials")

# A call of a generic class, such as `AsyncCredentialsManager[Any](...)`, goes through `typing`.
_SKIPPED_MODULES = ("aiocredentials.", "typing")


class UserLine(NamedTuple):
    """A line of the user's code, for a warning that is issued while that code doesn't run."""

    filename: str
    line: int
    module: str

    @classmethod
    def that_called(cls) -> UserLine:
        """Return the line that called this package."""
        frame = sys._getframe(1)  # noqa: SLF001 (the warnings module finds its line by it)
        while True:
            module: str = frame.f_globals.get("__name__", "")
            caller = frame.f_back
            if caller is None or not module.startswith(_SKIPPED_MODULES):
                return cls(frame.f_code.co_filename, frame.f_lineno, module)
            frame = caller

    def warn(self, message: str) -> None:
        """Issue a `UserWarning`. Where warnings are errors, log it: it must not break a call."""
        try:
            warnings.warn_explicit(
                message,
                UserWarning,
                self.filename,
                self.line,
                self.module,
                self._registry(),
            )
        except Exception:  # noqa: BLE001 (the user's filters and hooks may raise anything)
            logger.warning("%s", message)

    def _registry(self) -> dict[Any, Any]:
        """Return the dict in which Python notes the warnings that a module has shown."""
        module = sys.modules.get(self.module)
        if module is None:
            return {}
        registry: dict[Any, Any] = vars(module).setdefault("__warningregistry__", {})
        return registry
