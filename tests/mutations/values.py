"""What `tests/mutants.py` takes out of secrets, formats, credentials and `decode`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _decode.py
    (
        "a partial is printed",
        "_decode.py",
        "    while isinstance(function, partial):",
        "    while False:",
    ),
    (
        "a format error names no secret",
        "_decode.py",
        "raise for_caller(failure, secret_name=secret.name, region_name=secret.region)",
        "raise failure",
    ),
    # _pydantic_errors.py
    (
        "a key of the input is shown",
        "_pydantic_errors.py",
        "if is_index or step in words:",
        "if True:",
    ),
    # _formats.py
    (
        "a URL is a token",
        "_formats.py",
        "    if is_url(text):\n",
        "    if False:\n",
    ),
    (
        "keys that may be tokens are named",
        "_formats.py",
        "isinstance(key, str) and is_field_name(key)]",
        "isinstance(key, str)]",
    ),
    (
        "all keys are named",
        "_formats.py",
        "    del names[_MOST_KEYS_SHOWN:]\n",
        "",
    ),
    # _shapes.py
    (
        "a reader's error keeps the secret",
        "_shapes.py",
        "        del secret\n",
        "",
    ),
    (
        "a reader shows what is fixed",
        "_shapes.py",
        'f"{field!r}: ..." for field, _ in self.fixed',
        'f"{field!r}: {value!r}" for field, value in self.fixed',
    ),
    (
        "a password may be fixed",
        "_shapes.py",
        ' if name != "password"]',
        "]",
    ),
    (
        "a fixed value and a key for one field",
        "_shapes.py",
        "    if twice:\n",
        "    if False:\n",
    ),
    (
        "a reader guesses a key",
        "_shapes.py",
        "    if not url:\n",
        "    if True:\n",
    ),
    # _url_fields.py
    (
        "options of a URL get lost",
        "_url_fields.py",
        '    if match["options"] and not may_have_options:\n',
        "    if False:\n",
    ),
    (
        "a password is split at its last @",
        "_url_fields.py",
        'login, _, server = match["authority"].rpartition("@")',
        'login, _, server = match["authority"].partition("@")',
    ),
    (
        "a URL isn't decoded",
        "_url_fields.py",
        'unquote(part, errors="strict")',
        "part",
    ),
    (
        "bad bytes in a URL are replaced",
        "_url_fields.py",
        'unquote(part, errors="strict")',
        "unquote(part)",
    ),
    (
        "a name of DNS is a server",
        "_url_fields.py",
        "    if scheme == _MONGODB_BY_DNS:\n",
        "    if False:\n",
    ),
    (
        "one of several hosts is chosen",
        "_url_fields.py",
        "    if len(addresses) == 1:\n",
        "    if addresses:\n",
    ),
    (
        "a password after a semicolon is a host",
        "_url_fields.py",
        '_OPTION_AFTER_SEMICOLON.search(match["authority"])',
        "False",
    ),
    (
        "a part of a password is a database",
        "_url_fields.py",
        '    if "@" in path + options:\n',
        '    if "@" in options:\n',
    ),
    (
        "a part of a password is an option",
        "_url_fields.py",
        '    if "@" in path + options:\n',
        '    if "@" in path:\n',
    ),
    (
        "options after the database are its name",
        "_url_fields.py",
        '_OPTION_IN_PATH.search(match["path"])',
        "False",
    ),
    (
        "an IPv6 address needs no brackets",
        "_url_fields.py",
        """if part.count(":") > 1 and "[" not in part:""",
        "if False:",
    ),
    (
        "any text is a host",
        "_url_fields.py",
        r"[\w.~%-]*",
        "[^:]*",
    ),
    (
        "a host hides a port",
        "_url_fields.py",
        " or address[1] is not None:",
        ":",
    ),
    (
        "a % is no escape",
        "_url_fields.py",
        "    if _NO_ESCAPE.search(authority + path):\n",
        "    if False:\n",
    ),
    (
        "a second line is a database",
        "_url_fields.py",
        "    if _CONTROL.search(match[0]):\n",
        "    if False:\n",
    ),
    (
        "options without a URL",
        "_shapes.py",
        "    if ignore_options and not url:\n",
        "    if False:\n",
    ),
    (
        "a byte order mark is a part of the text",
        "_formats.py",
        """return secret.removeprefix("\\ufeff")""",
        "return secret",
    ),
    # _urls.py
    (
        "InfluxDB has a URL",
        "_urls.py",
        "if scheme is None and login.engine == _INFLUXDB:",
        "if False:",
    ),
    # _secret.py
    (
        "labels go raw",
        "_secret.py",
        "repr(label)[1:-1] for label",
        "label for label",
    ),
    # _json_copies.py
    (
        "callers share parsed JSON",
        "_json_copies.py",
        "            copy: Copy = container.copy\n",
        "            copy: Copy = lambda: container\n",
    ),
    (
        "callers share the containers in parsed JSON",
        "_json_copies.py",
        "            copy[place] = copy_inner()",
        "            pass",
    ),
    (
        "JSON is parsed at each call",
        "_json_copies.py",
        "    return value, copy\n",
        "    return value, None\n",
    ),
    (
        "long texts are kept as objects",
        "_json_copies.py",
        "    if len(text) > LONGEST_KEPT:",
        "    if False:",
    ),
    (
        "copying may be slower than parsing",
        "_json_copies.py",
        "        if self._characters_left < 0:",
        "        if False:",
    ),
    # _prefetch.py
    (
        "a prefetch lets nobody else run",
        "_prefetch.py",
        "                if start > 0 and cancelled is None:",
        "                if False:",
    ),
    (
        "a prefetch handles its results in one turn",
        "_prefetch.py",
        "        if self._handled % _NAMES_PER_TURN == 0:",
        "        if False:",
    ),
]
