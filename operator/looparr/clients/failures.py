"""The one translation of HTTP failures into `looparr.errors`, whichever library met them.

The class decides what the loop does next (`looparr.errors`), the reason goes into a condition, and the message names
host, path and cure: never a query, a credential or a body, which may all hold secrets.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from looparr.clients.egress import EgressDenied
from looparr.errors import Blocked, LoopError, Transient

MAX_RETRY_AFTER = 86_400.0


class HttpReason(StrEnum):
    """Reasons that a failed call to an outside system may put into a condition."""

    UNREACHABLE = "Unreachable"
    """No answer, a cut connection, a name that does not resolve, or a time-out."""
    SERVER_ERROR = "ServerError"
    """The other side answered 5xx."""
    RATE_LIMITED = "RateLimited"
    """429, or 503 with Retry-After: the other side asked to wait."""
    REJECTED = "Rejected"
    """The other side answered 4xx for a reason of its own (400, 405, 409, 415, 422)."""
    TLS_FAILED = "TLSFailed"
    """The certificate is not trusted, or the port does not speak TLS."""
    UNAUTHORIZED = "Unauthorized"
    """401 or 403: the key or the user is wrong or missing."""
    NOT_FOUND = "NotFound"
    """404: the URL, most often its base path, is wrong."""
    INVALID_URL = "InvalidURL"
    """The URL cannot be called: its port, host or brackets are wrong."""
    REDIRECTED = "Redirected"
    """The other side sent us elsewhere; Looparr never follows."""
    NOT_JSON = "NotJSON"
    """A web page or something else that is no JSON, where JSON belongs."""
    UNEXPECTED_REPLY = "UnexpectedReply"
    """JSON, but not what this API says."""
    TOO_LARGE = "TooLarge"
    """The answer was longer than the limit."""
    EGRESS_DENIED = "EgressDenied"
    """The address is one that this operator may not call."""


ONE_ONLY = frozenset({HttpReason.SERVER_ERROR, HttpReason.REJECTED, HttpReason.NOT_FOUND, HttpReason.UNEXPECTED_REPLY})
"""Reasons of a failed look that are the fault of one item: the others are gone on with."""


def parse_url(text: str) -> URL:
    """Read the URL of an endpoint. Raises Blocked (InvalidURL); its message quotes nothing that may hold a secret."""
    host = "" if "@" in text else " of " + re.split("[/?#]", text.partition("://")[2], maxsplit=1)[0][:100]
    wrong = Blocked(
        HttpReason.INVALID_URL,
        f"the URL{host} cannot be called: write it as http://HOST:PORT/BASE, with a real host and a port up to 65535",
    )
    try:
        url = URL(text)
        (url.raw_host or "").encode("idna")  # the resolver would raise for what this raises for
    except ValueError as exc:
        raise wrong from exc
    if url.scheme not in {"http", "https"} or not url.raw_host or not url.port:
        raise wrong
    return url


def describe(method: str, url: URL) -> str:
    """Name a call for messages: method, host, port and path; never user, password or query."""
    return f"{method} {url.host}:{url.port}{url.path}" if url.port else f"{method} {url.host}{url.path}"


def is_success(status: int) -> bool:
    """Whether that status is 2xx."""
    return 200 <= status < 300  # noqa: PLR2004 - the bounds of 2xx


def status_error(what: str, status: int, headers: Mapping[str, str]) -> LoopError:
    """Translate a status outside 2xx; the one place that knows. what: "GET host/path"."""
    match status:
        case 401 | 403:
            return Blocked(
                HttpReason.UNAUTHORIZED, f"{what} answered {status}: check the key or password in the Secret"
            )
        case 404:
            return Blocked(HttpReason.NOT_FOUND, f"{what} answered 404: check the URL and its base path")
        case 429:
            return _rate_limited(what, status, headers)
        case 503 if "Retry-After" in headers:
            return _rate_limited(what, status, headers)
        case _ if 300 <= status < 400:  # noqa: PLR2004 - the bounds of 3xx
            host = urlsplit(headers.get("Location", "")).hostname
            return Blocked(
                HttpReason.REDIRECTED,
                f"{what} answered {status}{f' and points to {host}' if host else ''}; Looparr never follows:"
                " set the URL to where the program really is, scheme and base path included",
            )
        case _ if status >= 500:  # noqa: PLR2004 - the bound of 5xx
            return Transient(HttpReason.SERVER_ERROR, f"{what} answered {status}: look into that program's log")
        case _:
            return Transient(HttpReason.REJECTED, f"{what} answered {status}: look into that program's log")


def is_page(body: bytes, content_type: str = "") -> bool:
    """Whether an answer is HTML."""
    return "html" in content_type.lower() or body[:64].lstrip().startswith(b"<")


def not_json(what: str, body: bytes, content_type: str = "") -> Blocked:
    """Make the error for a web page (or rubbish) where JSON belongs."""
    kind = "a web page" if is_page(body, content_type) else "something else"
    return Blocked(
        HttpReason.NOT_JSON,
        f"{what} answered with {kind}, not JSON: is the URL right, is there a log-in proxy before it?",
    )


def transport_error(what: str, exc: BaseException, *, timeout: float | None = None) -> LoopError:
    """Translate a failure to get an answer at all, of aiohttp, requests or the system; the one place that knows.

    timeout: the limit that was in force, for the message.
    """
    for cause in _causes(exc):
        match cause:
            case LoopError():
                return cause
            case EgressDenied(address=address, port=port):
                return Blocked(
                    HttpReason.EGRESS_DENIED,
                    f"{what}: the address {address} port {port} is one that this operator may not call;"
                    " if it should, its administrator adds it to LOOPARR_EGRESS_ALLOW_CIDRS",
                )
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
                break  # cut in mid-stream, which is no matter of trust
            case ssl.SSLError() if not isinstance(cause, aiohttp.ClientError):  # aiohttp's own hold the real one
                return Blocked(
                    HttpReason.TLS_FAILED,
                    f"{what}: TLS failed ({cause.reason or 'handshake'}): check that the URL is https,"
                    " that the certificate fits the host, and tls.caSecretRef",
                )
            case TimeoutError():
                limit = f" within {timeout:g} s" if timeout else " in time"
                return Transient(HttpReason.UNREACHABLE, f"{what} did not answer{limit}: is it up, is the URL right?")
            case _:
                continue
    return Transient(
        HttpReason.UNREACHABLE, f"{what} could not be reached ({_short(exc)}): is it up, is the URL right?"
    )


def parse_date(text: str | None) -> datetime | None:
    """Read an HTTP date as aware UTC; None when absent or unreadable."""
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError):
        return None
    return moment.astimezone(UTC) if moment and moment.tzinfo else moment and moment.replace(tzinfo=UTC)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, in both styles (a date counts from the answer's own Date); at most a day."""
    text = headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        until = parse_date(text)
        if until is None:
            return None
        seconds = (until - (parse_date(headers.get("Date")) or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if seconds == seconds else None  # noqa: PLR0124 - not a number


def _rate_limited(what: str, status: int, headers: Mapping[str, str]) -> Transient:
    wait = retry_after(headers)
    asked = f" and asks to wait {wait:g} s" if wait is not None else ""
    message = f"{what} answered {status}{asked}: a longer spec.interval asks less often"
    return Transient(HttpReason.RATE_LIMITED, message, retry_after=wait)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Everything an exception wraps, outermost first: causes, contexts, and what HTTP libraries hide in fields."""
    todo: list[object] = [exc]
    seen: set[int] = set()
    while todo:
        one = todo.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [
            getattr(one, "os_error", None),
            getattr(one, "reason", None),
            *one.args[:2],
            one.__cause__,
            one.__context__,
        ]


def _short(exc: BaseException) -> str:
    """Name a failure without its text, which may hold a URL with its query."""
    inner = next((one for one in _causes(exc) if isinstance(one, OSError) and one.strerror), None)
    return inner.strerror if inner is not None and inner.strerror else type(exc).__name__
