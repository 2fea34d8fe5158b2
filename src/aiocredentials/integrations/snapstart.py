"""Lambda SnapStart: nothing secret is in a snapshot, and nothing old is served after a restore."""

from __future__ import annotations

import gc
import importlib
import random
from typing import Protocol, cast

from aiocredentials import forget_all
from aiocredentials._loops import loading

__all__ = ["forget_before_snapshots"]

# Lambda's managed Python runtimes have it (AWS Lambda developer guide, "Lambda SnapStart runtime
# hooks for Python").
_HOOKS = "snapshot_restore_py"


class _Hooks(Protocol):
    """AWS's module."""

    def register_before_snapshot(self, hook: object, /) -> object: ...

    def register_after_restore(self, hook: object, /) -> object: ...


_is_registered = False


def forget_before_snapshots() -> bool:
    """Register hooks that empty all pools and managers of this process around each snapshot.

    Before a snapshot, and once more after a restore, everything is forgotten that pools and
    managers have fetched: see `aiocredentials.forget_all`. So the first read after a restore
    fetches. The second time drops the values that other hooks or threads fetch after the first one.

    After a restore, Python's `random` is seeded again as well, because all copies of a snapshot
    have it in the same state: botocore would make all of them retry at the same moments.

    Call it as the first statement of the module that has the handler. AWS runs the hooks before a
    snapshot in the opposite order of their registration, so this one runs last, and those after a
    restore in the order of their registration, so this one runs first. Calling it again does
    nothing.

    Example:
        ```python
        from aiocredentials import CredentialsPool
        from aiocredentials.integrations.snapstart import forget_before_snapshots

        forget_before_snapshots()
        pool = CredentialsPool("eu-west-1")
        ```

    Returns:
        Whether the hooks are registered. They aren't where AWS's package `snapshot_restore_py` is
        missing: outside of Lambda's managed Python runtimes, where there are no such snapshots.
    """
    global _is_registered  # noqa: PLW0603 (a process has the hooks, or it hasn't)
    with loading:
        if _is_registered:
            return True
        try:
            hooks = cast("_Hooks", importlib.import_module(_HOOKS))
        except ModuleNotFoundError:
            return False
        hooks.register_before_snapshot(_before_snapshot)
        hooks.register_after_restore(_after_restore)
        _is_registered = True
    return True


def _before_snapshot() -> None:
    forget_all()
    # Some unused objects refer to each other, so only the garbage collector frees them.
    gc.collect()


def _after_restore() -> None:
    forget_all()
    random.seed()
