"""What `tests/mutants.py` takes out of our sessions: what makes them cheap, and what keeps them safe all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _aws/models.py
    (
        "the folders of all services are listed",
        "_aws/models.py",
        "        return _KnownServices(self, type_name, super().list_available_services)",
        "        return super().list_available_services(type_name)",
    ),
    (
        "an unknown service isn't noticed",
        "_aws/models.py",
        "        except DataNotFoundError:\n            return False",
        "        except DataNotFoundError:\n            return True",
    ),
    (
        "no other thread runs while a model is read",
        "_aws/models.py",
        "json.loads(content, object_hook=_unchanged)",
        "json.loads(content)",
    ),
    (
        "models are made of ordered dicts",
        "_aws/models.py",
        "    return made",
        "    return __import__('collections').OrderedDict(made)",
    ),
    (
        "clients have all operations",
        "_aws/models.py",
        '        elif content and parts[-1] == "service-2" and parts[-3] == "secretsmanager":',
        "        elif False:",
    ),
    (
        "other services lose their operations",
        "_aws/models.py",
        ' and parts[-3] == "secretsmanager":',
        ":",
    ),
    (
        "the endpoints of all services are kept",
        "_aws/models.py",
        '        if content and parts[-1] == "endpoints":',
        "        if False:",
    ),
    (
        "the endpoints of the credential chain are dropped",
        "_aws/models.py",
        '    "portal.sso",\n    "oidc",\n',
        "",
    ),
    # _aws/emitters.py
    (
        "each session registers the handlers",
        "_aws/emitters.py",
        "    return copy.copy(prepared.emitter)",
        "    return _emitter_of(source)",
    ),
    (
        "sessions share an emitter",
        "_aws/emitters.py",
        "    return copy.copy(prepared.emitter)",
        "    return prepared.emitter",
    ),
    (
        "a handler that a library adds is never called",
        "_aws/emitters.py",
        "    if prepared is None or prepared.source != source:",
        "    if prepared is None:",
    ),
    (
        "each session compares the names of events",
        "_aws/emitters.py",
        "            self._alias_name_cache = _names",
        "            pass",
    ),
    (
        "each name is compared with one alias after the other",
        "_aws/emitters.py",
        "        if event_name not in self._alias_name_cache and not self._has_alias(event_name):",
        "        if False:",
    ),
    (
        "an alias of several parts isn't found",
        "_aws/emitters.py",
        '        return any(alias in event_name for alias in aliases if "." in alias)',
        "        return False",
    ),
    # _aws/aiosession.py
    (
        "handlers for S3 are registered",
        "_aws/aiosession.py",
        "    def _register_default_handlers(self)",
        "    def _no_default_handlers(self)",
    ),
    (
        "a session of ours copies the environment",
        "_aws/aiosession.py",
        "copy.deepcopy(provider) if is_shared else provider",
        "copy.deepcopy(provider)",
    ),
    (
        "the caller's session gets our retries",
        "_aws/aiosession.py",
        "copy.deepcopy(provider) if is_shared else provider",
        "provider",
    ),
    # _aws/transport.py
    (
        "plain HTTP has a TLS context made",
        "_aws/transport.py",
        "        if not plain:",
        "        if True:",
    ),
    (
        "any URL passes for one of plain HTTP",
        "_aws/transport.py",
        'return str(url)[:5].lower() == "http:"',
        'return str(url)[:4].lower() == "http"',
    ),
    (
        "a URL shares the connector of another kind",
        "_aws/transport.py",
        "        route = (proxy_url, is_plain(url))",
        "        route = (proxy_url, True)",
    ),
    # _reports.py
    (
        "events are made for nobody",
        "_reports.py",
        "        if self._listener is not None:\n            report_event(",
        "        if True:\n            report_event(",
    ),
    # _aws/answered_errors.py
    (
        "patterns for errors are compiled by each process",
        "_aws/answered_errors.py",
        '_CODE = r"[\\w.-]+"',
        '_CODE = re.compile(r"[\\w.-]+")',
    ),
    # _aws/regions.py
    (
        "what only a wrong region needs is always imported",
        "_aws/regions.py",
        "import functools\n",
        "import difflib\nimport functools\n",
    ),
    # _aws/loading.py
    (
        "the event loop imports the signer",
        "_aws/loading.py",
        '    importlib.import_module("aiocredentials._aws.signing")\n',
        "",
    ),
    (
        "what gevent can't run is never awaited",
        "_aws/loading.py",
        "    dry_run.close()\n",
        "",
    ),
]
