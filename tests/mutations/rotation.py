"""What `tests/mutants.py` takes out of rotation and the database adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _rotation/waits.py
    (
        "a connection that comes too late is lost",
        "_rotation/waits.py",
        "        await give_back(task.result())",
        "        await asyncio.sleep(0)",
    ),
    (
        "a cancelled caller loses its connection",
        "_rotation/waits.py",
        "        except BaseException:\n            self._cut_off(task, give_back)",
        "        except BaseException:\n            task.cancel()",
    ),
    (
        "a caller waits for the end of an attempt that was cut",
        "_rotation/waits.py",
        "        self._cut_off(task, give_back)\n        raise self._error_of(wait)",
        "        task.cancel()\n        await asyncio.wait([task])\n        raise self._error_of(wait)",
    ),
    (
        "the end of a block doesn't wait for attempts that were cut",
        "_rotation/waits.py",
        "            await asyncio.wait(list(self._cut), timeout=_SETTLING)",
        "            pass",
    ),
    (
        "a check is taken for a full pool",
        "_rotation/waits.py",
        "        wait.what = CHECK",
        "        pass",
    ),
    (
        "a reason that is over",
        "_rotation/waits.py",
        '            self._waits.reason = ""',
        "            pass",
    ),
    (
        "a driver's TimeoutError is taken for the end of the time",
        "_rotation/waits.py",
        "            if not limit.expired():",
        "            if False:",
    ),
    (
        "an attempt that was cut keeps its socket",
        "rotation.py",
        "            traceback.clear_frames(error.__traceback__)",
        "            pass",
    ),
    (
        "redis-py tries again when the time is over",
        "integrations/_redis_connections.py",
        "    _final.add(error)\n    return error",
        "    return error",
    ),
    (
        "redis-py's pauses aren't limited",
        "integrations/_redis_connections.py",
        "            limit.reschedule(now + seconds)",
        "            pass",
    ),
    (
        "a command is limited after it has a connection again",
        "integrations/_redis_connections.py",
        "            self._limit.reschedule(None)",
        "            pass",
    ),
    (
        "a connection's retry can't be copied",
        "integrations/_redis_connections.py",
        "    def __reduce__(self)",
        "    def _reduce(self)",
    ),
    # rotation.py
    (
        "a string is taken for labels of one letter",
        "rotation.py",
        "    if isinstance(stages, str):",
        "    if False:",
    ),
    (
        "each caller searches for itself",
        "rotation.py",
        "            if findings == verdicts.findings:",
        "            if True:",
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
        "        for label in self._versions.take_labels_to_ask(current):",
        "        for label in ():",
    ),
    (
        "a swallowed cancellation is lost",
        "rotation.py",
        "            is_cancelled = _cancellations() > self._cancelled_before",
        "            is_cancelled = False",
    ),
    (
        "the accepted version is never tried",
        "rotation.py",
        "        if accepted is not None and accepted.version_id not in self._refused_here:",
        "        if False and accepted is not None:",
    ),
    (
        "any error is one of authentication",
        "rotation.py",
        "            is_refusal = self._is_auth_error(error)",
        "            is_refusal = True",
    ),
    (
        "no pause",
        "rotation.py",
        "            news = await wait_for_news(self._manager, pause, known)",
        "            await asyncio.sleep(0.001)\n            news: str | None = None",
    ),
    (
        "a search is for ever",
        "rotation.py",
        "            if self._budget.is_spent():\n                self._give_up()\n            if news",
        "            if news",
    ),
    (
        "an attempt begins after the budget",
        "rotation.py",
        "        if self._budget.is_spent():\n            return None\n        self._tried",
        "        self._tried",
    ),
    (
        "a late caller waits for another's fetch",
        "rotation.py",
        "        if verdicts.searching.locked():",
        "        if False:",
    ),
    (
        "a label that can't be read ends the search",
        "rotation.py",
        "            with contextlib.suppress(SecretFormatError):",
        "            with contextlib.nullcontext():",
    ),
    (
        "each version is tried by each label",
        "rotation.py",
        "        if version_id in self._tried:\n            return None\n",
        "",
    ),
    (
        "refusals are never logged",
        "rotation.py",
        "        is_first = self._verdicts.refuse(secret, number)",
        "        is_first = self._verdicts.refuse(secret, number) and False",
    ),
    (
        "each refusal is logged",
        "rotation.py",
        "        is_first = self._verdicts.refuse(secret, number)",
        "        is_first = self._verdicts.refuse(secret, number) or True",
    ),
    (
        "the server's words come as they are",
        "rotation.py",
        "words_of(error, secret),",
        "str(error),",
    ),
    (
        "labels come as they are",
        "_rotation/naming.py",
        '    labels = text_for_log("/".join(secret.version_stages))',
        '    labels = "/".join(secret.version_stages)',
    ),
    (
        "a password stays in the driver's error",
        "rotation.py",
        "            remove_passwords(error)\n",
        "",
    ),
    # _rotation/budget.py
    (
        "fetches and waits aren't in the budget",
        "_rotation/budget.py",
        "        limit = asyncio.timeout_at(self._deadline)",
        "        limit = asyncio.timeout_at(None)",
    ),
    (
        "any timeout is the budget's",
        "_rotation/budget.py",
        "            if not limit.expired():\n                raise\n",
        "",
    ),
    # _rotation/labels.py
    (
        "a label of the current version is asked",
        "_rotation/labels.py",
        "            known_labels = current.version_stages",
        "            known_labels = ()",
    ),
    (
        "a label that isn't allowed ends the search",
        "_rotation/labels.py",
        "            elif label is None:",
        "            else:",
    ),
    (
        "AWS's absence ends the search",
        "_rotation/labels.py",
        "            if error.transient:",
        "            if error.transient and label is not None:",
    ),
    (
        "nobody learns that no newer version was fetched",
        "_rotation/labels.py",
        "                    self.failure = str(error)",
        "                    pass",
    ),
    (
        "labels are asked in each round",
        "_rotation/labels.py",
        "        if is_recent and version_id == self._asked_for:",
        "        if False:",
    ),
    (
        "labels are asked once",
        "_rotation/labels.py",
        "        if is_recent and version_id == self._asked_for:",
        "        if self._asked_for:",
    ),
    (
        "an unanswered label is taken for absent",
        "_rotation/labels.py",
        '                self._asked_at = float("-inf")\n            elif',
        "                pass\n            elif",
    ),
    # _rotation/verdicts.py
    (
        "the version that was taken is forgotten",
        "_rotation/verdicts.py",
        "        is_refused = current.version_id in self._refused",
        "        is_refused = False",
    ),
    (
        "what nobody tried is refused",
        "_rotation/verdicts.py",
        "        is_refused = current.version_id in self._refused",
        "        is_refused = True",
    ),
    (
        "what is confirmed is no finding",
        "_rotation/verdicts.py",
        "        is_finding = self._has_refusals or not self._is_accepted(version_id)",
        "        is_finding = not self._is_accepted(version_id)",
    ),
    (
        "a late success takes a finding's place",
        "_rotation/verdicts.py",
        "        if attempt < self._accepted_in:",
        "        if False:",
    ),
    (
        "pauses don't grow",
        "_rotation/verdicts.py",
        "        pause = refused_for * _PAUSE_SHARE",
        "        pause = _SHORTEST_PAUSE",
    ),
    (
        "pauses grow too fast",
        "_rotation/verdicts.py",
        "_PAUSE_SHARE = 0.5",
        "_PAUSE_SHARE = 2.0",
    ),
    (
        "pauses grow without limit",
        "_rotation/verdicts.py",
        "        pause = min(pause, _LONGEST_PAUSE)\n",
        "",
    ),
    (
        "each search has a pace of its own",
        "_rotation/verdicts.py",
        "        self._refused_last = now\n",
        "        self._refused_last = float('-inf')\n",
    ),
    (
        "a success doesn't end the slow pace",
        "_rotation/verdicts.py",
        '        self._refused_last = float("-inf")\n        self._refused.discard',
        "        self._refused.discard",
    ),
    (
        "the slow pace is for ever",
        "_rotation/verdicts.py",
        "_STREAK_GAP = 2 * _LONGEST_PAUSE",
        "_STREAK_GAP = 1e9",
    ),
    (
        "a version is logged once in a life",
        "_rotation/verdicts.py",
        "            self._logged.remove(version_id)",
        "            pass",
    ),
    # _rotation/news.py
    (
        "a version that can't be decoded is acted on",
        "_rotation/news.py",
        "        if not is_new or not self._is_usable(secret):",
        "        if not is_new:",
    ),
    (
        "a pause never ends early",
        "_rotation/news.py",
        "                if secret.version_id not in known:\n                    return secret.version_id",
        "                pass",
    ),
    (
        "old news end a pause",
        "_rotation/news.py",
        "                if secret.version_id not in known:",
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
        "        await watch.first_read()\n",
        "",
    ),
    (
        "a block waits for a look that hangs",
        "_rotation/news.py",
        "            async with asyncio.timeout(_FIRST_READ):",
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
        "                    is_new = secret.version_id != self._seen",
        "                    is_new = True",
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
        "contexts are followed",
        "_rotation/refusals.py",
        "    yield exception.__cause__\n",
        "    yield exception.__cause__\n    yield exception.__context__\n",
    ),
    (
        "pg_hba.conf is a matter of passwords",
        "_rotation/refusals.py",
        "    return not is_about_the_host",
        "    return True",
    ),
    (
        "an attempt in clear hides libpq's refusal",
        "_rotation/refusals.py",
        "    return any(map(_POSTGRES_REFUSAL.search, attempts))",
        "    return False",
    ),
    (
        "an attempt in clear hides asyncpg's refusal",
        "_rotation/refusals.py",
        '    if function == "auth_failed":\n        return True\n',
        "",
    ),
    (
        "a refused token isn't known by its words",
        "_rotation/refusals.py",
        '    "PAM authentication failed",\n',
        "",
    ),
    (
        "a database is a matter of passwords",
        "_rotation/refusals.py",
        "_MYSQL_DENIED = {1045, 1698}",
        "_MYSQL_DENIED = {1044, 1045, 1698}",
    ),
    (
        "any error with a number is MySQL's",
        "_rotation/refusals.py",
        "    if code is None and _packages(exception) & _MYSQL_DRIVERS:",
        "    if code is None:",
    ),
    (
        "only English is understood",
        "_rotation/refusals.py",
        "    return names_user or not names_database",
        "    return False",
    ),
    (
        "what comes after the login is a refusal",
        "_rotation/refusals.py",
        "    return names_user or not names_database",
        "    return True",
    ),
    (
        "no answer is a refusal",
        "_rotation/refusals.py",
        "    if pgconn is None or answer is None:\n        return False\n",
        "    if pgconn is None:\n        return False\n    if answer is None:\n        return _used_password(pgconn)\n",
    ),
    (
        "without a password it is a refusal",
        "_rotation/refusals.py",
        "    if not _used_password(pgconn):\n        return False\n",
        "",
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
        "        if not status:\n            continue\n",
        "",
    ),
    (
        "a limit of RDS Proxy is a refusal for libpq",
        "_rotation/refusals.py",
        "    if _PROXY_ERROR.search(text):\n        return False\n",
        "",
    ),
    (
        "missing encryption is a refusal",
        "_rotation/refusals.py",
        " and not _PROXY_ERROR.search(text)",
        "",
    ),
    (
        "RDS Proxy's refusals need a class of SQLSTATE",
        "_rotation/refusals.py",
        "    if _PROXY_REFUSAL.search(text):\n        return True\n",
        "",
    ),
    # _rotation/words.py
    (
        "values are repeated",
        "_rotation/words.py",
        '                text = text.replace(spelling, "***")',
        "                pass",
    ),
    (
        "a short value is a hole in a word",
        "_rotation/words.py",
        "            is_short = len(value) < _SHORTEST_VALUE",
        "            is_short = False",
    ),
    (
        "only the spelling of the secret is hidden",
        "_rotation/words.py",
        "    return [value, in_url, in_repr, in_ascii]",
        "    return [value]",
    ),
    (
        "control characters are repeated",
        "_rotation/words.py",
        "    return _without_quotes(ascii(character))",
        "    return character",
    ),
    (
        "texts have any length",
        "_rotation/words.py",
        "    if len(line) > _LONGEST_TEXT:",
        "    if False:",
    ),
    # _rotation/adapters.py
    (
        "no host is this machine",
        "_rotation/adapters.py",
        '    if "host" not in options and not _is_host_named(named, driver):',
        "    if False:",
    ),
    (
        "None is given",
        "_rotation/adapters.py",
        "            accepted.pop(name, None)",
        "            pass",
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
    # _exception_chain.py
    (
        "circles are walked for ever",
        "_exception_chain.py",
        "if isinstance(each, BaseException) and identity not in seen:",
        "if isinstance(each, BaseException):",
    ),
    # The adapters for MySQL.
    (
        "idle connections outlive a new version",
        "integrations/_mysql.py",
        "        self._outdated.update(self._used)\n        self._quit_idle()",
        "        self._outdated.update(self._used)",
    ),
    (
        "connections in use are kept after a new version",
        "integrations/_mysql.py",
        "        self._outdated.update(self._used)",
        "        pass",
    ),
    (
        "a pool takes a connection that was begun before a new version",
        "integrations/_mysql.py",
        "        self._connector.renewals.count += 1",
        "        pass",
    ),
    (
        "a caller who fails keeps the slot",
        "integrations/_mysql.py",
        "        except BaseException:\n            self._pass_slot_on()",
        "        except BaseException:",
    ),
    (
        "a closed connection is given to a caller",
        "integrations/_mysql.py",
        "            if not is_too_old and self._is_usable(connection):",
        "            if not is_too_old:",
    ),
    (
        "a driver whose connections have changed half works",
        "integrations/_mysql.py",
        "        if missing:\n            self._quit(connection)",
        "        if False:\n            self._quit(connection)",
    ),
    (
        "closing waits for attempts to connect",
        "_rotation/interruption.py",
        "            limit.reschedule(now)",
        "            pass",
    ),
    (
        "a cancelled close leaves connections open",
        "integrations/_mysql.py",
        "            pool.terminate()",
        "            pass",
    ),
    (
        "a silent server keeps a terminated connection open",
        "integrations/_mysql.py",
        "        for connection in self._quitting.values():\n            connection.close()",
        "        pass",
    ),
    (
        "a silent server keeps a connection open",
        "_rotation/mysql.py",
        "            async with asyncio.timeout(_QUIT_SECONDS):",
        "            async with asyncio.timeout(None):",
    ),
    (
        "passwords must be Latin-1",
        "_rotation/mysql.py",
        """    encoded = password.encode("utf-8", "surrogatepass")""",
        """    encoded = password.encode("latin-1")""",
    ),
    (
        "the option file has a login",
        "_rotation/mysql.py",
        "    if is_rejected:",
        "    if False:",
    ),
    (
        "aiomysql sends a password in clear although ssl= is given",
        "_rotation/mysql.py",
        "        if not self.server_capabilities & _OFFERS_TLS:",
        "        if False:",
    ),
]
