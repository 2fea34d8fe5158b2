"""Calls the listeners of a pool. Their errors are logged, and reach no caller.

The events are in `events`, which a process imports only if it has a listener.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("aiocredentials")


def report_event(listener: Callable[[Any], object] | None, event: object) -> None:
    """Call a listener. Its errors are logged; `KeyboardInterrupt` and `SystemExit` are raised."""
    if listener is not None:
        name = type(event).__name__
        _call_and_log_errors(listener, event, name)


def report_opened(listener: object, pool: object) -> None:
    """Call `pool_opened` of a listener that has it, in the same way as `report_event`."""
    _call_method(listener, "pool_opened", pool)


def report_closed(listener: object, pool: object) -> None:
    """Call `pool_closed` of a listener that has it, in the same way as `report_event`."""
    _call_method(listener, "pool_closed", pool)


def _call_method(
    listener: object,
    name: str,
    pool: object,
) -> None:
    method = getattr(listener, name, None)
    if callable(method):
        _call_and_log_errors(method, pool, name)


def _call_and_log_errors(
    function: Callable[[Any], object],
    argument: object,
    name: str,
) -> None:
    try:
        function(argument)
    except (KeyboardInterrupt, SystemExit):
        # They end the program. Our callers have finished their bookkeeping by now.
        raise
    except BaseException:
        # This includes pytest.fail() and a cancellation, which raise no subclasses of Exception.
        # No caller could handle them.
        logger.exception("A listener failed on %s", name)
