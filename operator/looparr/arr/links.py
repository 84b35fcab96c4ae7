"""The connections of one instance: its Arr and its download clients, rebuilt when spec or Secret changed.

What the seed called RestartLoopException is this: a new Secret version gives new clients, the process goes on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from looparr.arr import spec as contract
from looparr.arr.limits import address
from looparr.arr.spec import ArrSpec
from looparr.arr.surroundings import Surroundings
from looparr.clients.http import Endpoint
from looparr.clients.kube_tls import tls_files
from looparr.clients.qbittorrent.client import Credentials, QBittorrent
from looparr.clients.qbittorrent.mirror import Cursor, Mirror, MirrorKey
from looparr.clients.servarr import Servarr
from looparr.errors import Blocked, LoopError


@dataclass(slots=True)
class ClientLink:
    """One download client. endpoint: its address, which limits are counted for. cursor: what we have seen of it."""

    name: str
    endpoint: str
    key: MirrorKey
    mirror: Mirror
    cursor: Cursor | None = None
    observed_at: float | None = None

    @property
    def client(self) -> QBittorrent:
        """The client for everything but the list."""
        return self.mirror.client


@dataclass(slots=True)
class Links:
    """Opens, keeps and renews the connections of one object.

    marks: what two objects on one Arr have in common. unopened: why a client cannot be asked, by name.
    """

    namespace: str
    spec: ArrSpec
    around: Surroundings
    arr: Servarr | None = None
    clients: dict[str, ClientLink] = field(default_factory=dict)
    unopened: dict[str, LoopError] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    _arr_version: tuple[str, ...] = ()
    _stale: bool = False

    def distrust(self) -> None:
        """Somebody answered 401 or refused a log-in: read the Secrets anew at the next opportunity."""
        self._stale = True

    def retry_logins(self) -> None:
        """A person asked for a new try: log in again although the last log-in was refused."""
        for link in self.clients.values():
            link.client.forget_refusal()

    async def open(self) -> bool:
        """Make sure that every connection bears the newest Secret. True when something was made anew.

        Raises Blocked when the Arr's Secret is missing, not offered, or lacks a key; a client's is noted as unopened.
        """
        fresh, self._stale = self._stale, False
        changed = await self._open_arr(fresh=fresh)
        self.unopened.clear()
        for wanted in self.spec.download_clients:
            try:
                changed = await self._open_client(wanted, fresh=fresh) or changed
            except LoopError as error:
                self.unopened[wanted.name] = error
        return changed

    async def close(self) -> None:
        """Let go of everything."""
        if self.arr is not None:
            await self.arr.close()
            self.arr = None
        for link in self.clients.values():
            await self.around.pool.release(link.key)
        self.clients.clear()

    async def _open_arr(self, *, fresh: bool) -> bool:
        reference = self.spec.api_key_secret_ref
        secret = await self.around.secrets.read(self.namespace, reference.name, fresh=fresh)
        tls = await tls_files(self.around.secrets, self.namespace, self.spec.tls, fresh=fresh)
        version = (secret.uid, secret.version, str(hash(tls)))
        if self.arr is not None and version == self._arr_version:
            return False
        key = secret.text(reference.key)
        if self.arr is not None:
            await self.arr.close()
        endpoint = Endpoint(self.spec.url, tls)
        self.arr = Servarr(endpoint, key, http=self.around.http, type=self.spec.type, wall=self.around.clock.wall)
        self._arr_version = version
        self.marks = (f"url {address(self.spec.url)}", f"key {hashlib.sha256(key.encode()).hexdigest()}")
        return True

    async def _open_client(self, wanted: contract.DownloadClient, *, fresh: bool) -> bool:
        block = wanted.qbittorrent
        if block is None:
            raise Blocked("InvalidSpec", f"downloadClients: {wanted.name} has no block qbittorrent")
        name = block.credentials_secret_ref.name
        secret = await self.around.secrets.read(self.namespace, name, fresh=fresh)
        tls = await tls_files(self.around.secrets, self.namespace, block.tls, fresh=fresh)
        key = MirrorKey(self.namespace, block.url, secret.uid, secret.version, tls)
        known = self.clients.get(wanted.name)
        if known is not None and known.key == key:
            return False
        credentials = Credentials(secret.text("username"), secret.text("password"))
        if known is not None:
            del self.clients[wanted.name]
            await self.around.pool.release(known.key)
        endpoint = Endpoint(block.url, tls)

        def make() -> Mirror:
            client = QBittorrent(
                endpoint, credentials, egress=self.around.egress, monotonic=self.around.clock.monotonic
            )
            return Mirror(client, monotonic=self.around.clock.monotonic, wall=self.around.clock.wall)

        self.clients[wanted.name] = ClientLink(wanted.name, block.url, key, self.around.pool.acquire(key, make))
        return True
