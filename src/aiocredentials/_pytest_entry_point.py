"""The entry point for pytest. It names the module of the plugin.

pytest registers the object of an entry point under the name of the entry point. If that object were
the plugin itself, pytest would refuse to load it a second time under the name of its module, as
`-p`, `PYTEST_PLUGINS` and a `conftest.py` do.
"""

pytest_plugins = ["aiocredentials.pytest_plugin"]
