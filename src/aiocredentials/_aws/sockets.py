"""Closes sockets whose event loop is closed already."""

# The stubs of asyncio don't have the private attributes that this module uses.
# ruff: noqa: ANN401, SLF001

from __future__ import annotations

from typing import Any


def close_socket(transport: Any) -> None:
    """Close the socket of a transport whose event loop is closed, quietly.

    Its own methods would ask the loop to do it. uvloop closes the sockets with the loop; there is
    nothing left to do.
    """
    tls_layer = getattr(transport, "_ssl_protocol", None)
    while tls_layer is not None:
        transport._closed = True
        transport = tls_layer._transport
        tls_layer = getattr(transport, "_ssl_protocol", None)

    sock = getattr(transport, "_sock", None)
    if sock is not None:
        transport._sock = None
        sock.close()
