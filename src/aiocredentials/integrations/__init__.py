"""Adapters for other libraries.

Each public module is for one library. Import the module that you need: this package imports none.
"""
