"""The real qbittorrent-nox in a folder of its own, on free loopback ports, cut off from every other peer.

No DHT, no LSD, no PeX, no UPnP: it talks to peers that it was told of (`torrents.connect`) and to nobody else.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import qbittorrentapi

from looparr.errors import SandboxError
from looparr.sandbox import debian, files, processes
from looparr.sandbox.binaries import Found
from looparr.sandbox.processes import Plan, Probe, Program
from looparr.sandbox.progress import Progress, Silent

USERNAME = "admin"
_READY_WITHIN = 30.0
_ROUNDS = 100_000  # fixed by qBittorrent
_PROGRAM = "qbittorrent-nox"


@dataclass(frozen=True, slots=True)
class QBittorrent:
    """One instance. Its profile and downloads stay in `folder` after `stop`, for `start_again`.

    web_port: on `address`. bt_port: on loopback. password: None where nobody has to log in. program: path of
    qbittorrent-nox. owner: the process whose end ends it, None where only `stop` does.
    """

    folder: Path
    web_port: int
    bt_port: int
    password: str | None
    program: Path
    owner: processes.Process | None
    username: str = USERNAME
    address: str = "127.0.0.1"

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        password: str | None = None,
        address: str = "127.0.0.1",
        bind_to_parent: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> QBittorrent:
        """Start one in a new or earlier folder and give it once its WebUI answers.

        address: where the WebUI listens; one beyond loopback (a sandbox cluster's `host`) wants a password.
        bind_to_parent: it ends with this process. env: where to look for the program; this process's own by default.
        """
        program = find(os.environ if env is None else env).path
        web_port, bt_port = files.free_ports(2)
        owner = processes.identity(os.getpid()) if bind_to_parent else None
        instance = cls(folder.absolute(), web_port, bt_port, password, program, owner, address=address)
        instance.start_again()
        return instance

    @property
    def url(self) -> str:
        """Where the WebUI answers."""
        return f"http://{self.address}:{self.web_port}"

    @property
    def data(self) -> Path:
        """Where downloads go by default."""
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """The pid of qbittorrent-nox itself; SandboxError where it does not run."""
        state = processes.read_state(self.folder)
        if state is None or not files.is_locked(self.folder):
            raise SandboxError(f"qBittorrent at {self.url} does not run.")
        return state.pids[_PROGRAM]

    def start_again(self) -> None:
        """Start it after `stop` or `kill`, on the same ports, with the torrents that it had."""
        descriptor = files.lock_folder(self.folder)
        if descriptor is None:
            raise SandboxError(f"qBittorrent at {self.url} runs already.")
        try:
            self._configure()
        except BaseException:
            os.close(descriptor)
            raise
        environment = {"PATH": os.defpath, "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}  # names in any script
        program = Program(
            _PROGRAM,
            (str(self.program), f"--profile={self.folder}", f"--webui-port={self.web_port}"),
            environment,
            probe=Probe(f"{self.url}/"),
            ready_within=_READY_WITHIN,
            restart=False,
            grace=30.0,  # it saves resume data first
        )
        facts = {"url": self.url, "bt_port": self.bt_port}
        processes.launch(self.folder, Plan((program,), facts, bound_to=self.owner), descriptor, limit=_READY_WITHIN * 2)

    def stop(self) -> None:
        """Have it save its torrents and end; nothing happens where it does not run."""
        processes.shut_down(self.folder, limit=60.0)

    def kill(self) -> None:
        """End it as a power cut would, without saving."""
        state = processes.read_state(self.folder)
        if state and files.is_locked(self.folder):
            processes.signal_process(state.supervisor, signal.SIGKILL)
            files.wait_until(lambda: not processes.under(self.folder), 10, "qBittorrent did not die")

    def signal(self, number: int) -> None:
        """Send it a signal: SIGSTOP makes it hang, SIGCONT lets it go on."""
        os.kill(self.pid, number)

    def client(self) -> qbittorrentapi.Client:
        """Give a client for it; use it in a `with`, which logs in where a password is set."""
        return qbittorrentapi.Client(
            host=self.url,
            username=self.username if self.password else "",
            password=self.password or "",
            FORCE_SCHEME_FROM_HOST=True,  # or it probes with HEAD, which 4.5 answers with a body
            SIMPLE_RESPONSES=True,
        )

    def _configure(self) -> None:
        """Write qBittorrent.conf, once: from then on it is qBittorrent's own."""
        path = self.folder / "qBittorrent" / "config" / "qBittorrent.conf"
        if path.exists():
            return
        self.data.mkdir(exist_ok=True)
        path.parent.mkdir(parents=True)
        login = "WebUI\\LocalHostAuth=false"
        if self.password:
            login = f"WebUI\\LocalHostAuth=true\nWebUI\\Username={self.username}\n{password_line(self.password)}"
        config = _CONFIG.format(
            address=self.address, web_port=self.web_port, bt_port=self.bt_port, data=self.data, login=login
        )
        files.write_whole(path, config)


_CONFIG = """\
[LegalNotice]
Accepted=true
[Preferences]
WebUI\\Enabled=true
WebUI\\Address={address}
WebUI\\Port={web_port}
WebUI\\HostHeaderValidation=false
WebUI\\CSRFProtection=false
WebUI\\UseUPnP=false
{login}
[BitTorrent]
Session\\Port={bt_port}
Session\\DefaultSavePath={data}
Session\\Interface=lo
Session\\InterfaceName=lo
Session\\InterfaceAddress=127.0.0.1
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\MultiConnectionsPerIp=true
Session\\QueueingSystemEnabled=false
Session\\BTProtocol=TCP
Session\\SSRFMitigation=false
[Network]
PortForwardingEnabled=false
"""


def password_line(password: str) -> str:
    """Give the line of qBittorrent.conf for a password: PBKDF2 with HMAC-SHA512, salt of 16 bytes."""
    salt = secrets.token_bytes(16)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
    encoded = ":".join(base64.b64encode(part).decode() for part in (salt, key))
    return f'WebUI\\Password_PBKDF2="@ByteArray({encoded})"'


def find(env: Mapping[str, str], *, install: bool = False, progress: Progress | None = None) -> Found:
    """Find qbittorrent-nox: LOOPARR_QBITTORRENT, else PATH, else (where `install`) Debian's package.

    SandboxError that says what was looked at and how to get one.
    """
    if named := env.get("LOOPARR_QBITTORRENT"):
        if not os.access(named, os.X_OK):
            raise SandboxError(f"LOOPARR_QBITTORRENT names {named}, which is no program.")
        return Found(_PROGRAM, Path(named).absolute(), _version(named), "LOOPARR_QBITTORRENT")
    path, rung = shutil.which(_PROGRAM, path=env.get("PATH")), "PATH"
    if path is None and install:
        debian.install((_PROGRAM,), progress or Silent())
        path, rung = shutil.which(_PROGRAM, path=env.get("PATH")), "apt-get"
    if path is None:
        raise SandboxError(
            "qbittorrent-nox is neither in LOOPARR_QBITTORRENT nor on PATH: `looparr sandbox binaries --install` "
            "gets it where root or sudo is there, else `apt-get install qbittorrent-nox`."
        )
    return Found(_PROGRAM, Path(path), _version(path), rung)


def _version(path: str) -> str:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    match = re.search(r"qBittorrent (v\d\S*)", said)
    if match is None:
        raise SandboxError(f"{path} does not say a version of qBittorrent; is it qbittorrent-nox?")
    return match[1]
