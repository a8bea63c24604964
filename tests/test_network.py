"""The guard that the other tests rely on really refuses."""

import socket
import subprocess
import sys

import pytest
from sitecustomize import NetworkRefused


def test_a_socket_cannot_leave_loopback():
    with socket.socket() as one, pytest.raises(NetworkRefused, match=r"192\.0\.2\.1"):
        one.connect(("192.0.2.1", 80))
    with pytest.raises(NetworkRefused, match="example"):
        socket.getaddrinfo("example.invalid", 443)


def test_loopback_works():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_child_processes_are_guarded_too():
    code = "import socket; socket.socket().connect(('192.0.2.1', 80))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "NetworkRefused" in finished.stderr
