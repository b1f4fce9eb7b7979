"""Where the machines that share a step meet, and by which address this one is reached."""

from __future__ import annotations

import fcntl
import socket
import struct
from dataclasses import dataclass

SIOCGIFADDR = 0x8915  # linux/sockios.h: the address of an interface


@dataclass(frozen=True)
class Node:
    """Machine `rank` of `count`; the first listens at `host`:`port`, all others know it there."""

    rank: int
    count: int
    host: str
    port: int


def own_address(node: Node) -> str:
    """The address of this machine on the network that leads to the first one.

    Names are no help: on many systems a machine's own name means its loopback. No packet is sent:
    connecting a datagram socket only chooses a route. Raises OSError where there is none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect((node.host, node.port))
        return str(route.getsockname()[0])


def interface(address: str) -> str | None:
    """The network interface that has an address, None where none has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(asking.fileno(), SIOCGIFADDR, request)
            except OSError:  # an interface without an address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
