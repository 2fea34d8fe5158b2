"""A fleet of processes that read secrets: the library's real pools, in virtual time."""
