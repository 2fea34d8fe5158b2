"""gevent runs what is meant for a thread in the thread of the event loop. gevent itself isn't needed here."""

from __future__ import annotations

import warnings

from aiocredentials._aws import loading


async def test_loading_beside_a_running_loop() -> None:
    """Loading in the thread of a running loop loads less, and leaves no coroutine that was never awaited."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loading.import_and_read()
    assert [str(warning.message) for warning in caught if "never awaited" in str(warning.message)] == []
