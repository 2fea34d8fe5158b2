"""What `tests/mutants.py` takes out of the SQLAlchemy engines that other code makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    (
        "an engine that connects by itself is accepted",
        "integrations/_sqlalchemy_pool.py",
        '    if not creator.__module__.startswith("sqlalchemy.engine."):',
        "    if False:",
    ),
    (
        "two blocks share an engine",
        "integrations/sqlalchemy.py",
        "    if dialect in _in_use:",
        "    if False:",
    ),
    (
        "an engine connects by the secret after the block",
        "integrations/sqlalchemy.py",
        '        event.remove(engine.sync_engine, "do_connect", login.connect_as_listener)',
        "        pass",
    ),
    (
        "the connections outlive the block",
        "integrations/sqlalchemy.py",
        "            await close_completely(engine.dispose())",
        "            pass",
    ),
    (
        "a login in connect_args is accepted",
        "integrations/sqlalchemy.py",
        "        accepted = options_without_login(options, _WHERE)",
        "        accepted = dict(options)",
    ),
    (
        "an engine of other code sends a token in clear",
        "integrations/sqlalchemy.py",
        "        check_encryption(self._manager, dialect.driver, options)",
        "        pass",
    ),
    (
        "a connection from before the block keeps its login",
        "integrations/sqlalchemy.py",
        "        if entry not in self.entries:",
        "        if False:",
    ),
    (
        "open connections of an engine stay",
        "integrations/sqlalchemy.py",
        "            entry.invalidate(soft=True)",
        "            pass",
    ),
]
