"""On the path of every process that the tests start: sockets reach loopback and nothing else."""

import socket
from typing import Any

_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


class NetworkRefused(OSError):
    """Something tried to leave this machine."""


def _check(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", "::1", "0.0.0.0", socket.gethostname()) or str(name).startswith("127."):
        return
    raise NetworkRefused(f"the tests use no network; something asked for {name!r}")


def _checked(original: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        if self.family != socket.AF_UNIX:
            _check(address[0])
        return original(self, address)

    return connect


def _checked_lookup(host: Any, *arguments: Any, **keywords: Any) -> Any:
    _check(host)
    return _getaddrinfo(host, *arguments, **keywords)


socket.socket.connect = _checked(_connect)  # type: ignore[method-assign]
socket.socket.connect_ex = _checked(_connect_ex)  # type: ignore[method-assign]
socket.getaddrinfo = _checked_lookup
