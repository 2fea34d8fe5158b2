"""The entry point for pytest: it names the plugin by its module.

pytest registers what an entry point names under the name of the entry point. If that were the plugin
itself, pytest would refuse to load it once more by the name of its module, as `-p`, `PYTEST_PLUGINS`
and a `conftest.py` do.
"""

pytest_plugins = ["aiocredentials.pytest_plugin"]
