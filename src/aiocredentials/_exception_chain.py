"""Walk from an exception to the exceptions that it was made from.

There is one walker and several rules. Each caller passes its own rule, because a question about a
refused login must not follow the same links as a question about a failed request.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def walk(
    exception: BaseException,
    origins_of: Callable[[BaseException], Iterable[object]],
) -> Iterator[BaseException]:
    """Yield an exception and its origins, the nearest first.

    Each is yielded once, because a chain can be a circle. `origins_of` returns the objects that an
    exception was made from. Those that aren't exceptions are skipped.
    """
    waiting: deque[object] = deque([exception])
    seen: set[int] = set()
    while waiting:
        each = waiting.popleft()
        identity = id(each)
        if isinstance(each, BaseException) and identity not in seen:
            seen.add(identity)
            yield each
            origins = origins_of(each)
            waiting.extend(origins)
