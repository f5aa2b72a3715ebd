"""Whether a broker talks AMQP yet: an open port alone does not mean it does."""

import socket

_GREETING = b"AMQP\x00\x00\x09\x01"


def answers_amqp(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(_GREETING)
            return bool(connection.recv(1))
    except OSError:
        return False
