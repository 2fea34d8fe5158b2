"""The parts of `aiocredentials.agent`, which asks AWS's local agent for secrets.

`client` has the client that a pool opens, and decides what is asked once more. `http` makes the
requests, by aiohttp. `answers` reads the answers, and `failures` has the words for those that
aren't a secret. `tokens` finds the token, `slots` bounds the requests at once, and `state` is what
all clients of one agent share.
"""
