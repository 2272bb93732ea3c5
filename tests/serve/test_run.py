"""The socket that the server listens at."""

import socket

import pytest

from hashcli.errors import HashcliError
from hashcli.serve.run import bound_socket


def test_asyncio_will_send_answers_at_once() -> None:
    """It sets TCP_NODELAY for connections of a socket that names its protocol, and of no other."""
    with bound_socket("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.proto == socket.IPPROTO_TCP


def test_an_address_that_is_not_ours_or_is_taken_is_said() -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HashcliError, match=f"port {port}: address already in use"):
            bound_socket("127.0.0.1", port)
    with pytest.raises(HashcliError, match=r"cannot listen at 203\.0\.113\.1"):
        bound_socket("203.0.113.1", 0)
