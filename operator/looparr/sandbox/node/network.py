"""Which addresses a node uses: one of 128 blocks that no other sandbox and no route of this machine has.

A block holds 1,024 addresses, of 10.213.0.0/16, or of 198.18.0.0/16 where a network of this machine has the first: for
the cable between host and node, the pods, the Services. Who has bound the block's abstract Unix socket has the block;
the kernel lets go of it with its last holder, whatever way that ends.
"""

from __future__ import annotations

import ipaddress
import json
import random
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from looparr.errors import SandboxError

_POOLS = (IPv4Network("10.213.0.0/16"), IPv4Network("198.18.0.0/16"))
_BLOCKS = tuple(block for pool in _POOLS for block in pool.subnets(new_prefix=22))


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses of one node, all made of the number of its block."""

    number: int

    @property
    def name(self) -> str:
        """Name of the cable's end on the host, and of the control groups."""
        return f"looparr{self.number}"

    @property
    def host(self) -> str:
        """Address at which pods and node reach the host."""
        return str(self._part(0)[1])

    @property
    def node(self) -> str:
        """Address at which host and pods reach the node."""
        return str(self._part(0)[2])

    @property
    def pods(self) -> IPv4Network:
        """Addresses of pods."""
        return self._part(1)

    @property
    def services(self) -> IPv4Network:
        """Addresses of Services; the first is that of the API server."""
        return self._part(2)

    def _part(self, number: int) -> IPv4Network:
        return tuple(_BLOCKS[self.number].subnets(new_prefix=24))[number]


def claim() -> tuple[Network, int]:
    """Choose a free block; gives it and the descriptor that holds it for as long as any process has it open."""
    taken = in_use()
    for pool in _POOLS:
        free = [number for number, block in enumerate(_BLOCKS) if block.subnet_of(pool)]
        free = [number for number in free if not any(_BLOCKS[number].overlaps(other) for other in taken)]
        for number in random.sample(free, len(free)):  # by chance, so that a block rests before it is used again
            if (held := hold(number)) is not None:
                return Network(number), held
    pools = " and ".join(map(str, _POOLS))
    raise SandboxError(f"{pools} are routed elsewhere or in use: see `ip route`; end a sandbox or a VPN.")


def hold(number: int) -> int | None:
    """Take a block; gives the descriptor that holds it, None where somebody else has it."""
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0looparr-sandbox-{number}")
    except OSError:
        holder.close()
        return None
    return holder.detach()


def in_use() -> list[IPv4Network]:
    """Give the networks that this machine has addresses in or routes to (not its default route)."""
    routes = (str(route.get("dst", "")) for route in _ip("route", "show", "table", "all"))
    links = (link.get("addr_info", ()) for link in _ip("address"))
    addresses = (f"{one['local']}/{one['prefixlen']}" for addresses in links for one in addresses)
    return list(_networks((*routes, *addresses)))


def _networks(texts: Iterable[str]) -> Iterable[IPv4Network]:
    for text in texts:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue  # "default"
        if isinstance(network, IPv4Network) and network.prefixlen:
            yield network


def _ip(*arguments: str) -> list[dict[str, Any]]:
    command = ("ip", "-4", "-json", *arguments)
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(f"`{' '.join(command)}` failed ({error}); install iproute2.") from error
    return json.loads(said or "[]")  # type: ignore[no-any-return]
