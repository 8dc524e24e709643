"""One connect, at most one POST: shown with a server that reads the request and then fails."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from raw_server import Act, answer, close, half_a_head, hang, hang_in_body, raw_server, reset

from exotel_async import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ExotelClient,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnreadableAnswerError,
)

from .conftest import MakeClient

CALL = b'{"Call": {"Sid": "c5797dcbaaeed7678c4062a4a3ed2f8a", "Status": "in-progress"}}'
NUMBERS = {"from_": "+919812300001", "to": "+919812300002", "caller_id": "08040001234"}
REST = b'{"RestException": {"Status": 403, "Message": "no"}}'

OPEN_ENDS: dict[str, Act] = {
    "301": answer("301 Moved", headers="Location: /elsewhere\r\n"),
    "302": answer("302 Found", headers="Location: /elsewhere\r\n"),
    "307": answer("307 Temporary Redirect", headers="Location: /elsewhere\r\n"),
    "308": answer("308 Permanent Redirect", headers="Location: /elsewhere\r\n"),
    "408": answer("408 Request Timeout"),
    "409": answer("409 Conflict"),
    "425": answer("425 Too Early"),
    "499": answer("499 Client Closed Request"),
    "500": answer("500 Oops", b'{"RestException": {"Status": 500, "Message": "oops"}}'),
    "502 in HTML": answer("502 Bad Gateway", b"<html><body>Bad Gateway</body></html>"),
    "503": answer("503 Unavailable", b'{"RestException": {"Status": 503, "Code": 35008}}'),
    "503 with Retry-After": answer("503 Unavailable", headers="Retry-After: 1\r\n"),
    "504 empty": answer("504 Gateway Timeout"),
    "closed": close,
    "reset": reset,
    "hang": hang,
    "half a head": half_a_head,
    "hang in body": hang_in_body,
    "truncated 200": answer("200 OK", CALL[:40], length=len(CALL)),
    "cut-off JSON": answer("200 OK", CALL[:40]),
    "no JSON": answer("200 OK", b"OK"),
    "empty 200": answer("200 OK"),
    "204": answer("204 No Content"),
    "{}": answer("200 OK", b"{}"),
    "no Sid": answer("200 OK", b'{"Call": {}}'),
    "empty Sid": answer("200 OK", b'{"Call": {"Sid": ""}}'),
    "RestException in 200": answer("200 OK", REST),
    "429 in 200": answer("200 OK", b'{"RestException": {"Status": 429}}'),
    "senseless status": answer("999 What"),
    "no HTTP": answer("OK"),
}
REFUSALS: dict[str, type[ApiError]] = {
    "400 Bad Request": BadRequestError,
    "401 Unauthorized": AuthenticationError,
    "402 Payment Required": PaymentRequiredError,
    "403 Forbidden": PermissionDeniedError,
    "404 Not Found": NotFoundError,
    "422 Unprocessable": ApiError,
}


@pytest.fixture
def make_hasty(make_client: MakeClient) -> MakeClient:
    """Make a client that soon loses patience, but would try again five times."""

    def make(**settings: Any) -> ExotelClient:
        return make_client(**({"timeout": 0.5, "max_retries": 5} | settings))

    return make


class TestConnect:
    """What may have rung a phone is never sent again."""

    @pytest.mark.parametrize("fault", OPEN_ENDS)
    async def test_one_post_and_unknown(self, fault: str, make_hasty: MakeClient) -> None:
        """A failure after the request was read leaves the outcome unknown, after one POST."""
        async with (
            raw_server(OPEN_ENDS[fault]) as server,
            make_hasty(base_url=server.url) as exotel,
        ):
            with pytest.raises(OutcomeUnknownError) as caught:
                await exotel.calls.connect(**NUMBERS)

        assert len(server.requests) == 1
        assert caught.value.__cause__ is not None
        assert caught.value.attempts == 1
        assert caught.value.request is not None
        assert caught.value.request.params["From"] == NUMBERS["from_"]

    @pytest.mark.parametrize("status", REFUSALS)
    @pytest.mark.parametrize("body", [b"", REST, b"<html>no</html>", b'{"Rest'])
    async def test_refused(self, status: str, body: bytes, make_hasty: MakeClient) -> None:
        """A 4xx is a refusal, whatever its body says, after one POST."""
        act = answer(status, body)
        async with raw_server(act) as server, make_hasty(base_url=server.url) as exotel:
            with pytest.raises(ApiError) as caught:
                await exotel.calls.connect(**NUMBERS)

        assert type(caught.value) is REFUSALS[status]
        assert len(server.requests) == 1

    async def test_refusal_with_a_lost_body(self, make_hasty: MakeClient) -> None:
        """A status that came is not forgotten because its body did not."""
        act = answer("403 Forbidden", REST[:10], length=500)
        async with raw_server(act) as server, make_hasty(base_url=server.url) as exotel:
            with pytest.raises(PermissionDeniedError):
                await exotel.calls.connect(**NUMBERS)

        assert len(server.requests) == 1

    async def test_429_is_tried_again(self, make_hasty: MakeClient) -> None:
        """Who was told to slow down was not served: the call is placed by a later try."""
        acts = answer("429 Too Many Requests"), answer("200 OK", CALL)
        async with raw_server(*acts) as server, make_hasty(base_url=server.url) as exotel:
            call = await exotel.calls.connect(**NUMBERS)

        assert call.sid == "c5797dcbaaeed7678c4062a4a3ed2f8a"
        assert len(server.requests) == 2

    async def test_429_then_lost(self, make_hasty: MakeClient) -> None:
        """Once a try may have been served there is no further one, whatever came before."""
        acts = answer("429 Too Many Requests"), close
        async with raw_server(*acts) as server, make_hasty(base_url=server.url) as exotel:
            with pytest.raises(OutcomeUnknownError) as caught:
                await exotel.calls.connect(**NUMBERS)

        assert len(server.requests) == 2
        assert caught.value.attempts == 2

    async def test_429_for_good(self, make_hasty: MakeClient) -> None:
        """A limit that stays is told after all tries."""
        act = answer("429 Too Many Requests")
        async with raw_server(act) as server, make_hasty(base_url=server.url) as exotel:
            with pytest.raises(RateLimitedError, match="after 6 tries"):
                await exotel.calls.connect(**NUMBERS)

        assert len(server.requests) == 6

    async def test_refused_connection(self, make_hasty: MakeClient) -> None:
        """Where nobody listens nothing was sent, and all tries are made."""
        async with make_hasty(base_url=f"http://127.0.0.1:{_free_port()}") as exotel:
            with pytest.raises(NotSentError) as caught:
                await exotel.calls.connect(**NUMBERS)

        assert caught.value.attempts == 6

    async def test_unknown_host(self, make_hasty: MakeClient) -> None:
        """A host nobody knows gets nothing sent."""
        async with make_hasty(base_url="https://exotel.invalid", max_retries=0) as exotel:
            with pytest.raises(NotSentError):
                await exotel.calls.connect(**NUMBERS)

    async def test_tls_that_is_none(self, make_hasty: MakeClient) -> None:
        """A server that speaks no TLS gets nothing sent."""

        async def babble(writer: asyncio.StreamWriter) -> None:
            writer.write(b"not TLS")

        async with raw_server(babble) as server:
            url = f"https://127.0.0.1:{server.port}"
            async with make_hasty(base_url=url, max_retries=0, timeout=2.0) as exotel:
                with pytest.raises(NotSentError):
                    await exotel.calls.connect(**NUMBERS)

    async def test_fresh_connection_each(self, make_hasty: MakeClient) -> None:
        """Our own session sends every connect on a connection of its own."""
        async with (
            raw_server(answer("200 OK", CALL)) as server,
            make_hasty(base_url=server.url) as exotel,
        ):
            for _ in range(3):
                await exotel.calls.connect(**NUMBERS)

        assert server.connections == 3

    async def test_body_is_urlencoded(self, make_hasty: MakeClient) -> None:
        """What goes over the wire is one urlencoded form with the credentials in its head."""
        async with (
            raw_server(answer("200 OK", CALL)) as server,
            make_hasty(base_url=server.url) as exotel,
        ):
            await exotel.calls.connect(**NUMBERS)

        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/Accounts/acme1/Calls/connect.json HTTP/1.1\r\n")
        assert b"Content-Type: application/x-www-form-urlencoded" in head
        assert b"Authorization: Basic a2tra2tra2s6dHR0dHR0dHQ=" in head
        assert body == b"From=%2B919812300001&To=%2B919812300002&CallerId=08040001234"


class TestGet:
    """What changes nothing may be asked again."""

    @pytest.mark.parametrize(
        "fault", ["500", "502 in HTML", "503", "504 empty", "408", "closed", "reset", "hang",
                  "half a head", "hang in body", "truncated 200"]
    )  # fmt: skip
    async def test_asked_again(self, fault: str, make_hasty: MakeClient) -> None:
        """A passing failure is overcome by asking again."""
        acts = OPEN_ENDS[fault], answer("200 OK", CALL)
        async with raw_server(*acts) as server, make_hasty(base_url=server.url) as exotel:
            call = await exotel.calls.get("c5797dcbaaeed7678c4062a4a3ed2f8a")

        assert call.status == "in-progress"

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("closed", NoAnswerError),
            ("hang", NoAnswerError),
            ("truncated 200", NoAnswerError),
            ("503", ServerError),
            ("RestException in 200", PermissionDeniedError),
            ("429 in 200", RateLimitedError),
            ("302", UnreadableAnswerError),
            ("no JSON", UnreadableAnswerError),
            ("{}", UnreadableAnswerError),
            ("empty 200", UnreadableAnswerError),
        ],
    )
    async def test_told_in_the_end(
        self, fault: str, error: type[Exception], make_hasty: MakeClient
    ) -> None:
        """A failure that stays is told as what it is."""
        async with (
            raw_server(OPEN_ENDS[fault]) as server,
            make_hasty(base_url=server.url, max_retries=1) as exotel,
        ):
            with pytest.raises(error) as caught:
                await exotel.calls.get("abc")

        assert type(caught.value) is error

    async def test_redirect_gets_no_credentials(self, make_hasty: MakeClient) -> None:
        """A redirect is not followed: the credentials stay with the API's own origin."""
        async with raw_server(answer("200 OK", CALL)) as elsewhere:
            away = answer("302 Found", headers=f"Location: {elsewhere.url}/\r\n")
            async with raw_server(away) as server, make_hasty(base_url=server.url) as exotel:
                with pytest.raises(UnreadableAnswerError, match="redirect"):
                    await exotel.calls.get("abc")

        assert elsewhere.requests == []


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
