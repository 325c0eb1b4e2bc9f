"""Ports for servers that a test starts as processes."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a loopback port on which nobody listens, from below those that outgoing connections get.

    Whoever asks a server on one of the latter whether it is there already may be given that very port to ask from, is
    connected to itself, and has taken the server's port.
    """
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(10_000, 22_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
