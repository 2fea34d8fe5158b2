"""What `tests/mutants.py` takes out of rotation and the database adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # rotation.py
    (
        "each caller searches for itself",
        "rotation.py",
        "                if findings == known.findings:",
        "                if True:",
    ),
    (
        "the refused version is kept",
        "rotation.py",
        "            self._manager.invalidate(if_version=version_id)",
        "            pass",
    ),
    (
        "no other labels",
        "rotation.py",
        "        for stage in self._stages_to_ask(current):",
        "        for stage in ():",
    ),
    (
        "the version that was taken is forgotten",
        "rotation.py",
        "        return accepted if current.version_id in self._refused else current",
        "        return current",
    ),
    (
        "what nobody tried is refused",
        "rotation.py",
        "        return accepted if current.version_id in self._refused else current",
        "        return accepted",
    ),
    (
        "what is confirmed is no finding",
        "rotation.py",
        "        self.findings += is_other or self._refusals",
        "        self.findings += is_other",
    ),
    (
        "a label of the current version is asked",
        "rotation.py",
        "        labels = current.version_stages if current else ()",
        "        labels = ()",
    ),
    (
        "a swallowed cancellation is lost",
        "rotation.py",
        "            if self._task.cancelling() > self._cancelled_before:",
        "            if False:",
    ),
    (
        "the accepted version is never tried",
        "rotation.py",
        "        if accepted is not None and (made := await self._try(accepted, tried)):",
        "        if False and accepted is not None and (made := await self._try(accepted, tried)):",
    ),
    (
        "a late success takes a finding's place",
        "rotation.py",
        "        if attempt < self._accepted_by:",
        "        if False:",
    ),
    (
        "any error is one of authentication",
        "rotation.py",
        "            if not self._is_auth_error(error):\n                raise",
        "            pass",
    ),
    (
        "no pause",
        "rotation.py",
        "            news = await wait_for_news(self._manager, pause, heard.union(self._refused))",
        "            await asyncio.sleep(0.001)\n            news: list[str] = []",
    ),
    (
        "pauses don't grow",
        "rotation.py",
        "        pause = min(max(refused_for * _PAUSE_SHARE, _SHORTEST_PAUSE), _LONGEST_PAUSE)",
        "        pause = _SHORTEST_PAUSE",
    ),
    (
        "pauses grow too fast",
        "rotation.py",
        "_PAUSE_SHARE = 0.5",
        "_PAUSE_SHARE = 2.0",
    ),
    (
        "pauses grow without limit",
        "rotation.py",
        "_SHORTEST_PAUSE), _LONGEST_PAUSE)",
        "_SHORTEST_PAUSE), 1e9)",
    ),
    (
        "each search has a pace of its own",
        "rotation.py",
        "        self._refused_last = now\n",
        "        self._refused_last = float('-inf')\n",
    ),
    (
        "a success doesn't end the slow pace",
        "rotation.py",
        '        self._refused_last = float("-inf")\n        self.accepted',
        "        self.accepted",
    ),
    (
        "the slow pace is for ever",
        "rotation.py",
        "_STREAK_GAP = 2 * _LONGEST_PAUSE",
        "_STREAK_GAP = 1e9",
    ),
    (
        "a search is for ever",
        "rotation.py",
        "            if self._is_over():\n                break\n",
        "",
    ),
    (
        "an attempt begins after the budget",
        "rotation.py",
        "        if secret.version_id in tried or self._is_over():",
        "        if secret.version_id in tried:",
    ),
    (
        "fetches and waits aren't in the budget",
        "rotation.py",
        "        limit = asyncio.timeout_at(self._deadline)",
        "        limit = asyncio.timeout_at(None)",
    ),
    (
        "a late caller waits for another's fetch",
        "rotation.py",
        "        if known.searching.locked():",
        "        if False:",
    ),
    (
        "any timeout is the budget's",
        "rotation.py",
        "            if not limit.expired():\n                raise\n",
        "",
    ),
    (
        "a label that isn't allowed ends the search",
        "rotation.py",
        "            if stage is None and not error.transient:",
        "            if not error.transient:",
    ),
    (
        "AWS's absence ends the search",
        "rotation.py",
        "            if stage is None and not error.transient:",
        "            if stage is None:",
    ),
    (
        "a label that can't be read ends the search",
        "rotation.py",
        "            with contextlib.suppress(SecretFormatError):\n                if secret",
        "            with contextlib.nullcontext():\n                if secret",
    ),
    (
        "each version is tried by each label",
        "rotation.py",
        "        if secret.version_id in tried or self._is_over():",
        "        if self._is_over():",
    ),
    (
        "labels are asked in each round",
        "rotation.py",
        "        if version_id == self._labels_of and now - self._labels_at < _LABELS_PAUSE:",
        "        if False:",
    ),
    (
        "labels are asked once",
        "rotation.py",
        "        if version_id == self._labels_of and now - self._labels_at < _LABELS_PAUSE:",
        "        if self._labels_of:",
    ),
    (
        "an unanswered label is taken for absent",
        "rotation.py",
        '                self._labels_at = float("-inf")\n            return None',
        "                pass\n            return None",
    ),
    (
        "refusals are never logged",
        "rotation.py",
        "        if self._known.refuse(secret, number):",
        "        if self._known.refuse(secret, number) and False:",
    ),
    (
        "each refusal is logged",
        "rotation.py",
        "        if self._known.refuse(secret, number):",
        "        if self._known.refuse(secret, number) or True:",
    ),
    (
        "a version is logged once in a life",
        "rotation.py",
        "            self._logged.remove(version_id)",
        "            pass",
    ),
    (
        "the server's words come as they are",
        "rotation.py",
        "_named(secret), words_of(error, secret))",
        "_named(secret), str(error))",
    ),
    (
        "labels come as they are",
        "rotation.py",
        "({one_line('/'.join(secret.version_stages))})",
        "({'/'.join(secret.version_stages)})",
    ),
    (
        "a password stays in the driver's error",
        "rotation.py",
        "            remove_passwords(error)\n",
        "",
    ),
    # _rotation/news.py
    (
        "a pause never ends early",
        "_rotation/news.py",
        "                if secret.version_id not in versions:\n                    return [secret.version_id]",
        "                pass",
    ),
    (
        "old news end a pause",
        "_rotation/news.py",
        "                if secret.version_id not in versions:",
        "                if True:",
    ),
    (
        "a closed pool is waited for",
        "_rotation/news.py",
        "    except PoolClosedError:\n        raise\n    # A manager",
        "    # A manager",
    ),
    (
        "what acting raises ends the watching",
        "_rotation/news.py",
        "        except Exception:\n            logger.exception(",
        (
            "        except LookupError as error:\n"
            "            raise PoolClosedError from error\n"
            "            logger.exception("
        ),
    ),
    (
        "watching goes on after its block",
        "_rotation/news.py",
        "        task.cancel()\n        await finish([task])",
        "        pass",
    ),
    (
        "a block begins without a look",
        "_rotation/news.py",
        "        await watch.first_look()\n",
        "",
    ),
    (
        "a block waits for a look that hangs",
        "_rotation/news.py",
        "            async with asyncio.timeout(_FIRST_LOOK):",
        "            async with asyncio.timeout(None):",
    ),
    (
        "a watcher that starts anew forgets",
        "_rotation/news.py",
        "        is_new = self._seen not in {None, secret.version_id}",
        "        is_new = False",
    ),
    (
        "the version at the start is new",
        "_rotation/news.py",
        "        is_new = self._seen not in {None, secret.version_id}",
        "        is_new = self._seen != secret.version_id",
    ),
    (
        "a version is new twice",
        "_rotation/news.py",
        "is_new=secret.version_id != self._seen)",
        "is_new=True)",
    ),
    (
        "a manager that fails is left",
        "_rotation/news.py",
        "                logger.warning(message, _WATCH_AGAIN, error)",
        "                return False",
    ),
    (
        "each failure is logged",
        "_rotation/news.py",
        "            if type(error) not in self._logged:",
        "            if True:",
    ),
    # _rotation/refusals.py
    (
        "circles are walked for ever",
        "_rotation/refusals.py",
        "and id(each) not in seen:",
        "and True:",
    ),
    (
        "contexts are followed",
        "_rotation/refusals.py",
        "waiting += [each.__cause__, getattr",
        "waiting += [each.__cause__, each.__context__, getattr",
    ),
    (
        "pg_hba.conf is a matter of passwords",
        "_rotation/refusals.py",
        "any(map(_is_refusal, links)) and not any(map(_is_about_the_host, links))",
        "any(map(_is_refusal, links))",
    ),
    (
        "a database is a matter of passwords",
        "_rotation/refusals.py",
        "_MYSQL_CODES = {1045, 1698}",
        "_MYSQL_CODES = {1044, 1045, 1698}",
    ),
    (
        "only English is understood",
        "_rotation/refusals.py",
        "    return not _AFTER_LOGIN.search(message) and (user or not database)",
        "    return False",
    ),
    (
        "what comes after the login is a refusal",
        "_rotation/refusals.py",
        "    return not _AFTER_LOGIN.search(message) and (user or not database)",
        "    return True",
    ),
    (
        "no answer is a refusal",
        "_rotation/refusals.py",
        "    if pgconn is None or answer is None or not _used_password(pgconn):",
        "    if pgconn is None or not _used_password(pgconn) or answer is None and False:",
    ),
    (
        "without a password it is a refusal",
        "_rotation/refusals.py",
        "    if pgconn is None or answer is None or not _used_password(pgconn):",
        "    if pgconn is None or answer is None:",
    ),
    (
        "values are repeated",
        "_rotation/refusals.py",
        '            text = re.sub(pattern, "***", text)',
        "            pass",
    ),
    (
        "a short value is a hole in a word",
        "_rotation/refusals.py",
        "            if len(value) < _SHORTEST_VALUE:",
        "            if False:",
    ),
    (
        "only the spelling of the secret is hidden",
        "_rotation/refusals.py",
        "        for spelling in (value, quoted, repr(value)[1:-1], ascii(value)[1:-1]):",
        "        for spelling in (value,):",
    ),
    (
        "control characters are repeated",
        "_rotation/refusals.py",
        "each if each.isprintable() else ascii(each)[1:-1]",
        "each",
    ),
    (
        "texts have any length",
        "_rotation/refusals.py",
        "    if len(line) > _LONGEST_TEXT:",
        "    if False:",
    ),
    (
        "psycopg's error keeps the password",
        "_rotation/refusals.py",
        '                pgconn.password = b""\n                pgconn.info = []',
        "                pass",
    ),
    (
        "an open connection is closed",
        "_rotation/refusals.py",
        'getattr(pgconn, "status", None):',
        "True:",
    ),
    # _rotation/adapters.py
    (
        "no host is this machine",
        "_rotation/adapters.py",
        '    if "host" not in found and not is_said and not any(map(os.environ.get, variables)):',
        "    if False:",
    ),
    (
        "None is given",
        "_rotation/adapters.py",
        "if value or name in may_be_empty}",
        "}",
    ),
    (
        "a host may hold a port",
        "_rotation/adapters.py",
        "        raise ValueError(_WITH_PORT) from None",
        "        pass",
    ),
    (
        "closing is cut",
        "_rotation/adapters.py",
        "    await finish([task])\n",
        "    await task\n",
    ),
]
