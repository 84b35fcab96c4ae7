"""Which addresses the operator may call. Checked after name resolution, at the moment a socket is made.

Who may create an object picks its URL; without this check the operator would be a way into what only it can reach:
its own loopback, the cloud's metadata address, the API server. A check of the name would be worth nothing, since a
name may resolve to anything, and to something else the next time.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from looparr.errors import SettingsError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
AddressAndPort = tuple[Address, int]

DENIED_BY_DEFAULT: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "127.0.0.0/8",  # loopback
        "::1/128",
        "169.254.0.0/16",  # link-local, and with it the metadata address of most clouds
        "fe80::/10",
        "fd00:ec2::254/128",  # the metadata address of one cloud under IPv6
        "0.0.0.0/8",  # unspecified: connects to loopback on Linux
        "::/128",
        "224.0.0.0/4",  # multicast
        "ff00::/8",
        "255.255.255.255/32",
    )
)


class EgressDenied(OSError):
    """A connection was refused before it was made. An OSError, so that every HTTP library lets it through.

    address: what the name resolved to; port: the port.
    """

    def __init__(self, address: str, port: int) -> None:
        # One text for all addresses: a connector that tried several then raises this error and not a mixture.
        super().__init__("denied by the operator's egress policy")
        self.address = address
        self.port = port


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Rules for outgoing connections; the most specific network decides, as in a routing table.

    Equal networks: deny beats allow, and both beat the built-in denials. So allow 127.0.0.0/8 opens loopback (the
    sandbox does that), and allow 0.0.0.0/0 does not open the metadata address. An address that nothing matches is
    permitted; deny 0.0.0.0/0 and ::/0 to turn `allow` into a list of all that is permitted.
    api_servers: gives the (address, port) pairs of the Kubernetes API server as they are known now (see
    `as_api_server`), refused whatever `allow` says.
    """

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    api_servers: Callable[[], frozenset[AddressAndPort]] = frozenset

    @classmethod
    def parse(
        cls,
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        api_servers: Callable[[], frozenset[AddressAndPort]] = frozenset,
    ) -> EgressPolicy:
        """Build from CIDRs as texts. Raises SettingsError naming the wrong one."""
        return cls(
            allow=tuple(_network("egress_allow_cidrs", text) for text in allow),
            deny=tuple(_network("egress_deny_cidrs", text) for text in deny),
            api_servers=api_servers,
        )

    def permits(self, address: str, port: int) -> bool:
        """Say whether that IP address may be called at that port."""
        ip = _unmapped(ip_address(address.split("%", 1)[0]))
        if (ip, port) in self.api_servers():
            return False
        ranked = (
            (network.prefixlen, rank, verdict)
            for networks, rank, verdict in ((self.deny, 2, False), (self.allow, 1, True), (DENIED_BY_DEFAULT, 0, False))
            for network in networks
            if ip in network
        )
        return max(ranked, default=(0, 0, True))[2]

    def check(self, address: str, port: int) -> None:
        """Raise EgressDenied unless that IP address may be called at that port."""
        if not self.permits(address, port):
            raise EgressDenied(address, port)

    def socket_factory(self) -> Callable[[Any], socket.socket]:
        """For aiohttp's connector: called with one resolved address, a literal one too, just before connecting."""

        def make(info: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
            family, kind, proto, _, target = info
            self.check(target[0], target[1])
            return socket.socket(family, kind, proto)

        return make

    def resolve(self, host: str, port: int) -> list[str]:
        """Resolve (blocking) to the addresses that may be called. Raises EgressDenied when none is left, or OSError."""
        found = list(dict.fromkeys(str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        permitted = [address for address in found if self.permits(address, port)]
        if not permitted:
            raise EgressDenied(found[0], port)
        return permitted


def as_api_server(address: str, port: int) -> AddressAndPort:
    """Write an IP address of the API server as `EgressPolicy.api_servers` wants it. Raises ValueError."""
    return _unmapped(ip_address(address.split("%", 1)[0])), port


def _network(setting: str, text: str) -> Network:
    try:
        return ip_network(text.strip())
    except ValueError as exc:
        raise SettingsError(f"{setting}: {text!r} is no network ({exc}); write it as 10.0.0.0/8 or fd00::/8") from exc


def _unmapped(ip: Address) -> Address:
    """::ffff:127.0.0.1 is 127.0.0.1."""
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
