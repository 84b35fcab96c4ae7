"""How the operator gets into an API server, against a stand-in over real sockets: rotation, 401, faults."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from client_kit import make_certificate, serving
from looparr.api.meta import BACKGROUND_LOOP, ObjectRef
from looparr.clients.egress import EgressPolicy
from looparr.clients.kube import KubeApi
from looparr.clients.kube_access import KubeAccess
from looparr.clients.kube_config import read_kubeconfig
from looparr.clients.kube_events import QUEUE_LIMIT, KubeEvents
from looparr.clients.kube_secrets import SecretReader
from looparr.clients.kube_status import KubeStatusWriter
from looparr.engine.types import Event
from looparr.errors import SettingsError, Transient, WriteFailed
from servarr_kit import until

REF = ObjectRef(BACKGROUND_LOOP, "media", "one", "uid-1")


def not_found(name: str) -> dict[str, Any]:
    """What an API server answers for an object that it does not have."""
    details = {"name": name, "group": "looparr.dev", "kind": "backgroundloops"}
    return {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "details": details}


@dataclass(frozen=True)
class Pair:
    """A certificate that signed itself; server: shows it and asks for that of a client. file: with its key."""

    server: ssl.SSLContext
    pem: bytes
    file: Path


def pair(folder: Path) -> Pair:
    folder.mkdir()
    server, pem = make_certificate(folder)
    return Pair(server, pem, folder / "both.pem")


@asynccontextmanager
async def guarded(one: Pair, port: int = 0) -> AsyncIterator[tuple[int, list[Pair]]]:
    """An API server that lets in who shows the certificate of a known pair, and answers others with 401."""
    known = [one]

    async def answer(request: web.Request) -> web.Response:
        shown = request.get_extra_info("ssl_object").getpeercert(binary_form=True)
        if shown not in {ssl.PEM_cert_to_DER_cert(pem.pem.decode()) for pem in known}:
            return web.json_response({"message": "Unauthorized"}, status=401)
        return web.json_response({"metadata": {"name": "one", "uid": "uid-1"}} if request.method == "PATCH" else {})

    one.server.verify_mode = ssl.CERT_OPTIONAL
    for trusted in one.file.parent.parent.glob("*/both.pem"):
        one.server.load_verify_locations(trusted)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=one.server, reuse_address=True).start()
    try:
        yield runner.addresses[0][1], known
    finally:
        await runner.cleanup()


class ApiServer:
    """Takes one token, answers everything with what it was told."""

    def __init__(self) -> None:
        self.token = "first"
        self.answers: list[tuple[int, Any]] = []
        self.seen: list[tuple[str, str, Any]] = []
        self.tokens: list[str] = []
        self.runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def answer(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.tokens[-1] != f"Bearer {self.token}":
            return web.json_response({"message": "Unauthorized"}, status=401)
        body = await request.read()
        self.seen.append((request.method, request.path_qs, json.loads(body) if body else None))
        fine = {"metadata": {"name": "one", "uid": "uid-1"}} if request.method == "PATCH" else {}
        code, answer = self.answers.pop(0) if self.answers else (200, fine)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = fine
        if isinstance(answer, str):
            return web.Response(text=answer, status=code, content_type="text/html")
        return web.json_response(answer, status=code)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = ApiServer()
    await made.start()
    yield made
    assert made.runner is not None
    await made.runner.cleanup()


def kubeconfig(path: Path, server: str, **user: Any) -> Path:
    context = {"cluster": "c", "user": "u"}
    document = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def access(server: ApiServer, tmp_path: Path) -> KubeAccess:
    return KubeAccess.from_kubeconfig(kubeconfig(tmp_path / "config", server.url, token="first"))


PLUGIN = """
import json, os
from pathlib import Path
token = Path(__file__).with_name("token").read_text()
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
print(json.dumps({"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": {"token": token}}))
"""


def plugin(folder: Path, server: str, program: str = PLUGIN) -> Path:
    """A kubeconfig as managed clusters give them: a program prints the token."""
    (folder / "plugin.py").write_text(program)
    how = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(folder / "plugin.py")],
        "interactiveMode": "Never",
    }
    return kubeconfig(folder / "config", server, exec=how)


async def test_a_credential_plugin_is_asked_at_the_start_and_after_a_401(server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    api = KubeApi(KubeAccess.from_kubeconfig(plugin(tmp_path, server.url)))
    assert await api.read_object(REF) == {}
    server.token = "second"
    (tmp_path / "token").write_text("second")
    assert await api.read_object(REF) == {}
    assert server.tokens == ["Bearer first", "Bearer first", "Bearer second"]
    await api.close()


async def test_a_plugin_is_run_once_for_all_who_are_refused_and_stops_nobody(server: ApiServer, tmp_path: Path) -> None:
    """A plugin takes its time, and asks nobody at the terminal; the loop goes on meanwhile."""
    (tmp_path / "token").write_text("first")
    counted = PLUGIN + "import sys, time; time.sleep(0.4); assert not sys.stdin.read()\n"
    counted += "with Path(__file__).with_name('runs').open('a') as runs: runs.write('x')\n"
    access = KubeAccess.from_kubeconfig(plugin(tmp_path, server.url, counted))
    writer, api = KubeStatusWriter(access), KubeApi(access)
    server.token = "another"
    longest, last = 0.0, time.monotonic()

    async def beat() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    beating = asyncio.create_task(beat())
    calls = [writer.write(REF, {}) for _ in range(5)], [api.read_object(REF) for _ in range(5)]
    found = await asyncio.gather(*calls[0], *calls[1], return_exceptions=True)
    beating.cancel()
    assert {type(one) for one in found} == {WriteFailed, Transient}
    assert (tmp_path / "runs").read_text() == "xx", "once at the start, once for all ten"
    assert longest < 0.3
    assert access.version == 0
    await writer.close()
    await api.close()


@pytest.mark.parametrize("target", ["/login", "another host"])
async def test_a_redirect_is_no_answer_and_gets_no_token(tmp_path: Path, target: str) -> None:
    """A proxy that wants a log-in sends everybody to its page, which says 200 to anything."""
    other = ApiServer()
    await other.start()
    assert other.runner is not None
    place = other.url if target == "another host" else target

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/login":
            return web.Response(text="<html>Log in</html>", content_type="text/html")
        raise web.HTTPTemporaryRedirect(place)

    async with serving(answer) as url:
        access = KubeAccess.from_kubeconfig(kubeconfig(tmp_path / "config", url, token="first"))
        writer, api, kopfs = KubeStatusWriter(access), KubeApi(access), access.session(total=5)
        with pytest.raises(WriteFailed):
            await writer.write(REF, {"runCount": 1})
        with pytest.raises(Transient):
            await api.read_object(REF)
        async with kopfs.get(f"{url}/apis") as reply:
            await reply.read()
        assert set(other.tokens) <= {""}, "the token stays with the API server"
        assert bool(other.tokens) is (target == "another host")
    for one in (writer, api, kopfs):
        await one.close()
    await other.runner.cleanup()


async def test_a_write_that_something_else_answered_with_200_is_not_written(
    server: ApiServer, access: KubeAccess
) -> None:
    writer = KubeStatusWriter(access)
    server.answers = [(200, "<html>Log in</html>"), (200, {}), (200, {"metadata": {"name": "one", "uid": "uid-2"}})]
    for _ in range(3):
        with pytest.raises(WriteFailed) as failed:
            await writer.write(REF, {"runCount": 1})
        assert not failed.value.gone
    await writer.close()


async def test_after_the_end_nobody_opens_connections_and_a_bad_authority_is_tried_again(
    server: ApiServer, access: KubeAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = KubeApi(access)
    with monkeypatch.context() as patched:
        patched.setattr(access, "session", lambda **_: (_ for _ in ()).throw(ssl.SSLError("bad authority")))
        for _ in range(2):
            with pytest.raises(Transient, match="could not be reached"):
                await api.read_object(REF)
    assert await api.read_object(REF) == {}
    await api.close()
    with pytest.raises(Transient, match="the process stops"):
        await api.read_object(REF)


def test_no_secret_is_in_what_credentials_look_like(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "https://127.0.0.1:1", token="a-secret-token")
    access = KubeAccess.from_kubeconfig(path)
    assert "a-secret-token" not in f"{read_kubeconfig(path)!r} {access.shown()!r}"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: [", b"current-context: x"])
def test_a_damaged_kubeconfig_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config").write_bytes(content)
    with pytest.raises(SettingsError, match=r"kubeconfig .*config is damaged or has no current context"):
        read_kubeconfig(tmp_path / "config")


@pytest.mark.parametrize("program", ["print('{}')", "print('null')", "print('rubbish')", "raise SystemExit(3)"])
def test_a_plugin_that_answers_nonsense_is_an_error_of_the_plugin(tmp_path: Path, program: str) -> None:
    with pytest.raises(SettingsError, match=r"the credential plugin of kubeconfig .*config failed"):
        read_kubeconfig(plugin(tmp_path, "https://127.0.0.1:1", program))


def test_a_credential_plugin_that_fails_is_named_with_what_it_said(tmp_path: Path) -> None:
    path = plugin(tmp_path, "https://127.0.0.1:1", "import sys; sys.exit('log in first')")
    with pytest.raises(SettingsError, match=r"credential plugin of kubeconfig .*config failed: .*log in first"):
        read_kubeconfig(path)


async def test_a_rotated_token_file_is_read_for_every_request(server: ApiServer, tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("first\n")
    (account / "ca.crt").write_text("unused")
    path = kubeconfig(tmp_path / "config", server.url, tokenFile=str(account / "token"))
    writer = KubeStatusWriter(KubeAccess.from_kubeconfig(path))
    await writer.write(REF, {})
    server.token = "second"
    (account / "token").write_text("second\n")
    await writer.write(REF, {})
    assert server.tokens == ["Bearer first", "Bearer second"]
    await writer.close()


async def test_a_401_reads_the_credentials_again_and_tries_once_more(
    server: ApiServer, access: KubeAccess, tmp_path: Path
) -> None:
    writer, api = KubeStatusWriter(access), KubeApi(access)
    server.token = "second"
    with pytest.raises(WriteFailed, match="401") as failed:
        await writer.write(REF, {})
    assert not failed.value.gone
    kubeconfig(tmp_path / "config", server.url, token="second")
    await writer.write(REF, {"runCount": 1})
    await api.create("/api/v1/namespaces/media/events", {"reason": "Test"})
    assert [one[0] for one in server.seen] == ["PATCH", "POST"]
    assert server.seen[0][2][1]["value"] == {"runCount": 1}
    await writer.close()
    await api.close()


async def test_the_write_is_one_json_patch_with_a_guard(server: ApiServer, access: KubeAccess) -> None:
    writer = KubeStatusWriter(access)
    await writer.write(REF, {"runCount": 1})
    method, path, patch = server.seen[0]
    assert (method, path) == ("PATCH", "/apis/looparr.dev/v1alpha1/namespaces/media/backgroundloops/one/status")
    assert patch == [
        {"op": "test", "path": "/metadata/uid", "value": "uid-1"},
        {"op": "add", "path": "/status", "value": {"runCount": 1}},
    ]
    await writer.close()


@pytest.mark.parametrize(
    ("code", "answer", "gone"),
    [
        (404, not_found("one"), True),
        (404, {"kind": "Status", "reason": "NotFound", "code": 404}, True),
        (404, not_found("another"), False),
        (404, not_found("one") | {"kind": "Error"}, False),
        (404, not_found("one") | {"reason": "Gone"}, False),
        (404, not_found("one") | {"details": {}}, False),
        (404, {"message": "not found"}, False),
        (404, "<html>a proxy</html>", False),
        (
            422,
            {"message": "x", "details": {"causes": [{"field": "status.runCount", "reason": "FieldValueInvalid"}]}},
            False,
        ),
        (403, {"message": "forbidden"}, False),
        (409, {"message": "conflict"}, False),
        (400, "<html>a proxy</html>", False),
        (413, {"message": 7}, False),
    ],
)
async def test_every_refusal_is_one_kind_of_error(
    server: ApiServer, access: KubeAccess, code: int, answer: Any, gone: bool
) -> None:
    seen: list[str] = []
    writer = KubeStatusWriter(access, measured=seen.append)
    server.answers = [(code, answer)]
    with pytest.raises(WriteFailed) as failed:
        await writer.write(REF, {})
    assert failed.value.gone is gone
    await writer.write(REF, {})
    assert seen == ["gone" if gone else "refused", "written"]
    await writer.close()


@pytest.mark.parametrize(
    ("code", "answer", "gone"),
    [
        (200, {"metadata": {"name": "one", "uid": "uid-1"}}, False),
        (200, {"metadata": {"name": "one", "uid": "uid-2"}}, True),
        (200, {"metadata": {"name": "other", "uid": "uid-2"}}, False),
        (200, {"metadata": {"name": "one"}}, False),
        (200, {"metadata": 7}, False),
        (200, "<html>a proxy</html>", False),
        (404, not_found("one"), True),
        (404, "<html>a proxy</html>", False),
        (403, {"message": "forbidden"}, False),
    ],
)
async def test_a_patch_that_fails_without_a_field_is_looked_into(
    server: ApiServer, access: KubeAccess, code: int, answer: Any, gone: bool
) -> None:
    writer = KubeStatusWriter(access)
    server.answers = [(422, {"message": "the server rejected our request"}), (code, answer)]
    with pytest.raises(WriteFailed) as failed:
        await writer.write(REF, {})
    assert failed.value.gone is gone
    await writer.close()


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_an_overloaded_api_server_counts_as_away_and_is_logged_once(
    server: ApiServer, access: KubeAccess, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    writer = KubeStatusWriter(access)
    server.answers = [(code, {"message": "storage is (re)initializing"})] * 3
    for _ in range(3):
        with pytest.raises(WriteFailed, match=f"answer {code}") as failed:
            await writer.write(REF, {})
        assert not failed.value.gone
    await writer.write(REF, {})
    assert caplog.text.count("could not be reached") == 1
    await writer.close()


async def test_an_api_server_that_is_away_is_an_error_and_found_again(tmp_path: Path) -> None:
    server = ApiServer()
    await server.start()
    access = KubeAccess.from_kubeconfig(kubeconfig(tmp_path / "config", server.url, token="first"))
    assert server.runner is not None
    await server.runner.cleanup()
    writer, api = KubeStatusWriter(access), KubeApi(access)
    with pytest.raises(WriteFailed, match="could not be reached"):
        await writer.write(REF, {})
    with pytest.raises(Transient, match="could not be reached"):
        await api.read_object(REF)
    assert not await api.can_list(BACKGROUND_LOOP, None)
    await writer.close()
    await api.close()


@pytest.mark.parametrize(("code", "reason"), [(403, "Forbidden"), (500, "ApiServerError")])
async def test_a_refused_read_has_a_reason(server: ApiServer, access: KubeAccess, code: int, reason: str) -> None:
    api = KubeApi(access)
    server.answers = [(code, {"message": "no"})]
    with pytest.raises(Exception) as failed:  # noqa: PT011 - its reason is looked at
        await api.read_object(REF)
    assert failed.value.reason == reason  # type: ignore[attr-defined]
    await api.close()


@pytest.mark.parametrize(
    ("code", "answer"),
    [(404, "<html>a proxy</html>"), (404, {}), (404, not_found("two")), (200, "<html>Log in</html>"), (200, [1])],
)
async def test_what_is_not_the_api_servers_word_is_no_proof_that_an_object_is_gone(
    server: ApiServer, access: KubeAccess, code: int, answer: Any
) -> None:
    api = KubeApi(access)
    server.answers = [(code, answer), (404, not_found("one"))]
    with pytest.raises(Transient) as failed:
        await api.read_object(REF)
    assert failed.value.reason == "ApiServerError"
    assert await api.read_object(REF) is None
    await api.close()


async def test_a_renewed_authority_and_client_certificate_reach_the_sessions(tmp_path: Path) -> None:
    """The server's and the client's certificates are replaced; only the files tell the operator."""
    old, new = pair(tmp_path / "old"), pair(tmp_path / "new")
    config = tmp_path / "config"

    def configure(one: Pair) -> None:
        shown = {"client-certificate": str(one.file), "client-key": str(one.file)}
        kubeconfig(config, f"https://127.0.0.1:{port}", **shown)
        trust(one)

    def trust(one: Pair) -> None:
        document = yaml.safe_load(config.read_text())
        document["clusters"][0]["cluster"]["certificate-authority"] = str(one.file)
        config.write_text(yaml.safe_dump(document))

    async with guarded(old) as (port, _):
        configure(old)
        access = KubeAccess.from_kubeconfig(config)
        writer, api, kopfs = KubeStatusWriter(access), KubeApi(access), access.session(total=5)
        await writer.write(REF, {})
        assert await api.read_object(REF) == {}
    async with guarded(new, port) as (_, known):
        for _ in range(2):
            with pytest.raises(WriteFailed, match="could not be reached"):
                await writer.write(REF, {})
            with pytest.raises(Transient):
                await api.read_object(REF)
        configure(new)
        with pytest.raises(WriteFailed, match="could not be reached"):  # this one finds the new files
            await writer.write(REF, {})
        await writer.write(REF, {})
        assert await api.read_object(REF) == {}
        async with kopfs.get(f"https://127.0.0.1:{port}/") as reply:
            assert reply.status == 401, "the new authority is trusted; a session of Kopf's is replaced after a 401"
        known.clear()
        configure(old)  # the certificates of clients alone: the server still shows the new one
        trust(new)
        known.append(old)
        await writer.write(REF, {})
        assert await api.read_object(REF) == {}
    for part in (writer, api, kopfs):
        await part.close()


async def test_a_call_in_flight_ends_well_while_its_session_is_replaced(server: ApiServer, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", server.url, token="first")
    access = KubeAccess.from_kubeconfig(path)
    writer = KubeStatusWriter(access)
    server.answers = [(200, 0.3)]
    slow = asyncio.create_task(writer.write(REF, {}))

    async def begun() -> bool:
        return bool(server.seen)

    await until(begun, "the slow write has begun")
    kubeconfig(path, server.url, token="first", **{"client-certificate-data": "", "client-key-data": "aGk="})
    await access.reload()
    assert access.version == 1
    await writer.write(REF, {})
    await slow
    await writer.close()


async def test_credentials_that_are_of_no_use_do_not_replace_the_good_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = pair(tmp_path / "one")
    config = kubeconfig(tmp_path / "config", "https://127.0.0.1:1", token="first")
    access = KubeAccess.from_kubeconfig(config)
    text = config.read_text()
    for broken in ("a: [", text.replace("server:", "certificate-authority-data: aGFsZg==\n    server:")):
        config.write_text(broken)
        await access.reload()
        assert (access.version, access.token()) == (0, "first")
    assert caplog.text.count("credentials could not be read again") == 1
    config.write_text(text.replace("first", "second"))
    await access.reload()
    assert (access.version, access.token()) == (0, "second"), "a new token needs no new connections"
    assert one.file.exists()


async def test_an_api_server_whose_name_does_not_resolve_is_told_and_found_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = kubeconfig(tmp_path / "config", "https://api.invalid:6443", token="first")
    access = KubeAccess.from_kubeconfig(config)
    policy = EgressPolicy.parse(allow=["127.0.0.0/8"], api_servers=access.addresses)
    for _ in range(2):
        assert not await access.resolve()
    [record] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert "host=api.invalid" in record.getMessage()
    assert policy.permits("127.0.0.1", 6443)
    kubeconfig(config, "https://127.0.0.1:6443", token="first")
    await access.reload()
    again = asyncio.create_task(access.keep_resolved())

    async def guarded_now() -> bool:
        return not policy.permits("127.0.0.1", 6443)

    await until(guarded_now, "the address is refused")
    again.cancel()
    kubeconfig(config, "https://api.invalid:6443", token="first")
    await access.reload()
    assert not await access.resolve()
    assert not policy.permits("127.0.0.1", 6443), "what is known is kept"


async def test_many_readers_of_one_secret_share_one_call(server: ApiServer, access: KubeAccess) -> None:
    api = KubeApi(access)
    reader = SecretReader(api)
    meta = {"labels": {"looparr.dev/credentials": "true"}, "uid": "u", "resourceVersion": "1"}
    server.answers = [(200, {"metadata": meta, "data": {"a": base64.b64encode(b"b").decode(), "broken": "%%%"}})]
    found = await asyncio.gather(*(reader.read("media", "radarr") for _ in range(20)))
    assert len(server.seen) == 1
    assert {one.text("a") for one in found} == {"b"}
    assert "broken" not in found[0].data
    await api.close()


async def test_events_never_raise_and_never_wait(server: ApiServer, access: KubeAccess) -> None:
    api = KubeApi(access)
    events = KubeEvents(api)
    for _ in range(QUEUE_LIMIT + 5):
        await events.post(REF, Event("Reason", "message"))
    assert events.dropped == 5
    server.answers = [(403, {"message": "no"}), (500, "<html>")]
    await events.start()
    await events.stop()
    assert server.seen[2][2]["involvedObject"]["uid"] == "uid-1"
    await api.close()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "current-context: x", "current-context: x\ncontexts: []", "a: [", "contexts: 5"]
)
def test_a_damaged_kubeconfig_is_a_readable_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(SettingsError, match="kubeconfig"):
        read_kubeconfig(path)


def test_a_kubeconfig_without_any_credentials_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither token nor client certificate"):
        read_kubeconfig(kubeconfig(tmp_path / "config", "https://127.0.0.1:6443"))


def test_outside_of_a_pod_the_cure_is_named() -> None:
    with pytest.raises(SettingsError, match="--kubeconfig"):
        KubeAccess.from_pod({}, Path("nowhere"))


def test_a_pod_is_found_by_its_variables(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    (tmp_path / "ca.crt").write_text("pem")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = KubeAccess.from_pod(environ, tmp_path)
    assert (access.server, access.token()) == ("https://[fd00::1]:6443", "abc")
