"""Ties to other libraries: each module imports one of them, and nothing here imports the modules."""
