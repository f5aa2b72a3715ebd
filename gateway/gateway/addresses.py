"""Whose address a request counts for: the other end of the connection, unless that is a proxy we trust."""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

UNKNOWN = "unknown"
_HOP = re.compile(r"([0-9.]+):[0-9]{1,5}|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


class ClientAddresses:
    """Reads client addresses; `X-Forwarded-For` is believed only when a listed proxy wrote it."""

    def __init__(self, trusted_proxies: tuple[str, ...] = ()) -> None:
        self._trusted = tuple(ip_network(network) for network in trusted_proxies)

    def of(self, peer: str, forwarded_for: bytes | None) -> str:
        """The client's own address."""
        if self._trusted and forwarded_for and self._is_trusted(peer):
            for hop in reversed(forwarded_for.decode("latin-1").split(",")):
                peer = _without_port(hop.strip())
                if not self._is_trusted(peer):
                    break
        return _canonical(peer)[0]

    @staticmethod
    def household(address: str) -> str:
        """What requests are counted by: for IPv6 the network, since one customer has all of it."""
        return _canonical(address)[1]

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address):
            parsed = parsed.ipv4_mapped or parsed
        return any(parsed in network for network in self._trusted)


def _without_port(hop: str) -> str:
    """Some proxies write the client's port too, and IPv6 addresses in brackets."""
    match = _HOP.fullmatch(hop)
    return match[1] or match[2] if match else hop


@lru_cache(maxsize=10_000)
def _canonical(address: str) -> tuple[str, str]:
    try:
        parsed = ip_address(address)
    except ValueError:
        return UNKNOWN, UNKNOWN
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(parsed), str(ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed), str(parsed)
