"""Receiving StatusCallbacks over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from clocks import FakeClock
from receivers import BODY, FORM, SECRET, collecting, receiving, request, serving
from samples import form_sample, multipart, sample
from spellings import SPELLINGS, TREE, flat

from exotel_async import (
    CallbackTokens,
    CallTerminated,
    ConfigurationError,
    InvalidRequestError,
    StatusCallback,
)
from exotel_async.webhooks import CallbackRouter, StatusCallbacks
from exotel_async.webhooks import reading as module

TYPE = {"Content-Type": FORM}
NUMBER = "9876543210"


@pytest.fixture
async def receiver():
    async with receiving() as running:
        yield running


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def log(caplog):
    """All that any logger says."""
    caplog.set_level(logging.DEBUG)
    return caplog


@asynccontextmanager
async def posting(callbacks: StatusCallbacks):
    """Post to callbacks under /exotel/."""
    app = web.Application()
    app.add_subapp("/exotel/", callbacks.app)
    async with TestClient(TestServer(app)) as client:
        yield client


def ours(caplog) -> list[logging.LogRecord]:
    return [r for r in caplog.records if r.name.startswith("exotel_async")]


def check_quiet(caplog, *secrets: str) -> None:
    """Assert that no logger has said anything that it must not, or shown a traceback."""
    for record in caplog.records:
        text = record.getMessage() + str(record.exc_text or "")
        for secret in (SECRET, NUMBER, *secrets):
            assert secret not in text, record
        assert record.exc_info is None, record


class TestAnswers:
    @pytest.mark.parametrize("spell", SPELLINGS, ids=lambda spell: spell.__name__)
    async def test_ok(self, receiver, session, spell):
        """A callback in any spelling reaches the handler, with the ref its URL vouches for."""
        body, content_type = spell(TREE)
        url = receiver.base + receiver.path("order-42")

        answer = await session.post(url, data=body, headers={"Content-Type": content_type})

        assert answer.status == 200
        [event] = receiver.events
        assert event.ref == "order-42"
        assert event.pairs == tuple(flat(TREE))

    @pytest.mark.parametrize("ref", ["", "ü & / . %2F ☎", "a" * 124])
    async def test_ref(self, receiver, session, ref):
        """The event carries the ref of its URL; an empty one is None."""
        url = receiver.callbacks.url(f"{receiver.base}/exotel/", ref=ref)

        await session.post(url, data=BODY, headers=TYPE)

        assert receiver.events[0].ref == (ref or None)

    async def test_ref_is_not_taken_from_the_body(self, receiver, session):
        """What the body or the query calls a ref is not one."""
        url = receiver.base + receiver.path("") + "?ref=x&%00ref=x"

        await session.post(url, data=BODY + b"&ref=x&%00ref=x", headers=TYPE)

        assert receiver.events[0].ref is None

    async def test_query(self, receiver, session):
        """The URL's query comes with the body, which wins."""
        url = receiver.base + receiver.path() + "?CallSid=b2&flow=7"

        await session.post(url, data=BODY, headers=TYPE)

        assert receiver.events[0].call_sid == "a1"
        assert dict(receiver.events[0].extra) == {"flow": "7"}

    async def test_unknown_sid(self, receiver, session):
        """A CallSid that nobody here has heard of is welcome: it may overtake connect's answer."""
        answer = await session.post(
            receiver.base + receiver.path(), data=b"CallSid=never-seen", headers=TYPE
        )

        assert answer.status == 200

    async def test_time_zone(self, session):
        """Times are in the zone that was named."""
        async with receiving(time_zone="Europe/Paris") as receiver:
            body = b"CallSid=a1&StartTime=2024-07-01 12:00:00"
            await session.post(receiver.base + receiver.path(), data=body, headers=TYPE)

        assert receiver.events[0].start_time.utcoffset() == timedelta(hours=2)

    @pytest.mark.parametrize("error", [RuntimeError("boom"), web.HTTPBadRequest(), TimeoutError()])
    async def test_failing_handler(self, log, error):
        """A handler that fails answers 500 without a word about it, after all others ran."""
        callbacks, events = StatusCallbacks(tokens=None), []

        @callbacks.on(CallTerminated)
        async def fail(event):
            raise error

        @callbacks.on(CallTerminated)
        async def collect(event):
            events.append(event)

        async with posting(callbacks) as client:
            answer = await client.post("/exotel/", data=BODY, headers=TYPE)
            text = await answer.text()

        assert (answer.status, text) == (500, "Try again")
        assert len(events) == 1
        assert [r.exc_info is not None for r in ours(log) if r.levelno == logging.ERROR] == [True]

    async def test_slow_handler(self):
        """A handler slower than handler_timeout is cancelled, and the answer is 500."""
        callbacks, cancelled = StatusCallbacks(tokens=None, handler_timeout=0.001), []

        @callbacks.on(CallTerminated)
        async def hang(event):
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(True)

        async with posting(callbacks) as client:
            answer = await client.post("/exotel/", data=BODY, headers=TYPE)

        assert answer.status == 500
        assert cancelled == [True]

    async def test_answers_after_the_handler(self, session):
        """The answer waits for the handler."""
        callbacks, _ = collecting(tokens=None)
        begun, go = asyncio.Event(), asyncio.Event()

        @callbacks.on(CallTerminated)
        async def wait(event):
            begun.set()
            await go.wait()

        async with posting(callbacks) as client:
            post = asyncio.create_task(client.post("/exotel/", data=BODY, headers=TYPE))
            await begun.wait()
            assert not post.done()
            go.set()
            answer = await post

        assert answer.status == 200

    async def test_included_router(self):
        """Handlers of an included router are called too."""
        callbacks, router, events = StatusCallbacks(tokens=None), CallbackRouter(), []
        callbacks.include(router)

        @router.on(StatusCallback)
        async def collect(event):
            events.append(event)

        async with posting(callbacks) as client:
            await client.post("/exotel/", data=BODY, headers=TYPE)

        assert len(events) == 1

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("path", ["/exotel/", "/exotel/x.1.y", "/exotel/anything?a=b"])
    async def test_health_check(self, receiver, session, method, path):
        """GET and HEAD answer 200, whatever the token; no handler runs."""
        answer = await session.request(method, receiver.base + path)

        assert answer.status == 200
        assert await answer.text() == ("OK" if method == "GET" else "")
        assert receiver.events == []

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"])
    async def test_other_methods(self, receiver, session, method, caplog):
        """Any other method answers 405, says what is allowed and leaves one line in the log."""
        answer = await session.request(method, receiver.base + receiver.path())

        assert answer.status == 405
        assert answer.headers["Allow"] == "GET,HEAD,POST"
        told = [record for record in caplog.records if record.name == "exotel_async.webhooks"]
        assert [record.getMessage() for record in told] == [f"refused a {method} from 127.0.0.1"]

    async def test_unmapped(self, receiver, session):
        """What lies deeper than a token is not ours."""
        answer = await session.post(f"{receiver.base}/exotel/a{receiver.path()}", data=BODY)

        assert answer.status == 404


class TestImpossibleSettings:
    """What the receiver can't be made with."""

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("tokens", "secret"),
            ("handler_timeout", "1"),
            ("handler_timeout", 0),
            ("max_body", None),
            ("max_body", 0),
            ("time_zone", "Mars/Olympus"),
        ],
    )
    def test_impossible(self, setting, value):
        """An impossible setting is refused by its name."""
        with pytest.raises(ConfigurationError, match=setting):
            StatusCallbacks(**{"tokens": None, setting: value})


class TestBadInput:
    BODIES = (
        ("", b""),
        (FORM, b"Status=completed"),
        ("application/json", b"{"),
        ("application/json; charset=nonsense", b"[]"),
        ("text/plain; charset=\xff".encode("latin-1").decode("latin-1"), b"x"),
        ("multipart/form-data", b"--"),
        ("multipart/form-data; boundary=", b"--x--"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: x\r\n\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: x; name=CallSid\r\n"),
    )  # fmt: skip

    @pytest.mark.parametrize(("content_type", "body"), BODIES)
    async def test_malformed(self, receiver, log, content_type, body):
        """What is no StatusCallback answers 400, with one log line that gives nothing away."""
        path = receiver.path()
        body += b"&From=" + NUMBER.encode()
        raw = request(path, f"Content-Length: {len(body)}", "Content-Type: ").rstrip()

        answer = await receiver.talk(
            raw + b" " + content_type.encode("latin-1") + b"\r\n\r\n" + body
        )

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"\r\n\r\nNot a StatusCallback")
        assert len(ours(log)) == 1
        check_quiet(log, path.rpartition("/")[2])

    @pytest.mark.parametrize("charset", ["nonsense", "utf-7", "idna", "undefined"])
    async def test_bad_charset(self, receiver, charset):
        """A charset that nobody knows does not matter: Exotel means UTF-8."""
        raw = request(
            receiver.path(),
            f"Content-Length: {len(BODY)}",
            f"Content-Type: {FORM}; charset={charset}",
            body=BODY,
        )

        answer = await receiver.talk(raw)

        assert answer.startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize("size", [1_000, 1_001])
    @pytest.mark.parametrize("chunked", [False, True])
    async def test_max_body(self, session, log, size, chunked):
        """A body of max_body is read, one byte more answers 413."""
        body = BODY + b"&X=" + b"x" * (size - len(BODY) - 3)

        async def chunks():
            for at in range(0, size, 100):
                yield body[at : at + 100]

        async with receiving(max_body=1_000) as receiver:
            path = receiver.path()
            data = chunks() if chunked else body
            answer = await session.post(receiver.base + path, data=data, headers=TYPE)

        assert answer.status == (200 if size == 1_000 else 413)
        assert len(receiver.events) == 1_001 - size
        assert len(ours(log)) == size - 1_000
        check_quiet(log, path.rpartition("/")[2])

    async def test_claimed_length(self, receiver):
        """A length that is too large is refused before the body comes."""
        answer = await receiver.talk(request(receiver.path(), "Content-Length: 65537"))

        assert answer.startswith(b"HTTP/1.1 413 ")

    @pytest.mark.parametrize(
        ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
    )
    async def test_bomb(self, receiver, session, encoding, compress):
        """A small body that unpacks to a large one answers 413."""
        bomb = compress(b"a" * 20_000_000)
        assert len(bomb) < 65_536

        answer = await session.post(
            receiver.base + receiver.path(), data=bomb,
            headers={**TYPE, "Content-Encoding": encoding},
        )  # fmt: skip

        assert answer.status == 413
        assert receiver.events == []

    async def test_compressed(self, receiver, session):
        """A compressed body is unpacked."""
        answer = await session.post(
            receiver.base + receiver.path(), data=gzip.compress(BODY),
            headers={**TYPE, "Content-Encoding": "gzip"},
        )  # fmt: skip

        assert answer.status == 200
        assert receiver.events[0].call_sid == "a1"

    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            (["Transfer-Encoding: chunked"], b"5\r\nCallS\r\nzz\r\n"),
            (["Transfer-Encoding: chunked"], b"5\r\nCallSid=a1\r\n0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"-1\r\n\r\n"),
            (["Content-Encoding: gzip", "Content-Length: 9"], b"not gzip!"),
            (["Content-Encoding: deflate", "Content-Length: 9"], b"\xffnot zlib"),
        ],
    )
    async def test_broken_transfer(self, receiver, log, monkeypatch, headers, body):
        """Broken chunks and broken compression answer 400, at once or while we read."""
        monkeypatch.setattr(module, "_BODY_TIMEOUT", 0.02)  # some are never heard of again
        path = receiver.path()

        at_once = await receiver.talk(request(path, *headers, body=body))
        del log.records[:]
        waiting = request(path, *headers, "Expect: 100-continue")
        while_we_read = await receiver.talk(waiting, body, after=b"HTTP/1.1 100 ")

        for answer in (at_once, while_we_read):
            assert b" 400 Bad Request\r\n" in answer
            assert b"Traceback" not in answer
        assert receiver.events == []
        assert len(ours(log)) == 1  # aiohttp may say more, about what it could not read
        for record in log.records:
            assert path.rpartition("/")[2] not in record.getMessage()

    @pytest.mark.parametrize(
        "headers", [["Content-Length: 1000"], ["Transfer-Encoding: chunked"]]
    )  # fmt: skip
    async def test_cut_off(self, receiver, log, headers):
        """A connection that is cut in mid-body leaves one log line, and nothing else."""
        path = receiver.path()
        chunk = b"5\r\nCallS\r\n"

        await receiver.talk(request(path, *headers, body=chunk), close=True)
        while not ours(log):
            await asyncio.sleep(0)

        assert receiver.events == []
        assert [r.getMessage() for r in ours(log)] == [
            "refused a callback from 127.0.0.1: its body did not arrive whole"
        ]
        check_quiet(log, path.rpartition("/")[2])

    @pytest.mark.parametrize("headers", [["Content-Length: 9"], ["Transfer-Encoding: chunked"]])
    async def test_body_that_does_not_come(self, receiver, log, monkeypatch, headers):
        """A body is not waited for for ever."""
        monkeypatch.setattr(module, "_BODY_TIMEOUT", 0.001)

        answer = await receiver.talk(request(receiver.path(), *headers, body=b"5\r\n"))

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert len(ours(log)) == 1

    async def test_still_serving(self, receiver, session):
        """After all kinds of bad requests, a good one is answered."""
        for body in (b"", b"\0" * 100, b"5\r\n"):
            await receiver.talk(request(receiver.path(), f"Content-Length: {len(body)}", body=body))

        answer = await session.post(receiver.base + receiver.path(), data=BODY, headers=TYPE)

        assert answer.status == 200

    async def test_continue(self, receiver):
        """A client that waits for 100 Continue is served."""
        head = request(receiver.path(), f"Content-Length: {len(BODY)}", "Expect: 100-continue")

        answer = await receiver.talk(head, BODY, after=b"HTTP/1.1 100 ")

        assert answer.startswith(b"HTTP/1.1 200 ")


class TestTokens:
    def wrong_paths(self, receiver) -> list[str]:
        tokens = CallbackTokens([SECRET], lifetime=timedelta(seconds=1))
        foreign = CallbackTokens(["another secret of mine"])
        staging = CallbackTokens([SECRET], audience="staging")
        past = receiver.callbacks._clock.now() - timedelta(days=1)
        good = receiver.path().rpartition("/")[2]
        segments = (
            "", "x", "x.y.z", "a" * 500, "%2e%2e", "%00", "%D9%A3.1.x",
            tokens.mint("order-42", now=past), foreign.mint("order-42"), staging.mint("order-42"),
            good[:-1] + ("A" if good[-1] != "A" else "B"), good + "A",
        )  # fmt: skip
        return ["/exotel", *(f"/exotel/{segment}" for segment in segments)]

    async def test_always_the_same_404(self, receiver, session, log):
        """Missing, forged and expired tokens get the very same answer."""
        answers = set()
        for path in self.wrong_paths(receiver):
            answer = await receiver.talk(
                request(path, f"Content-Length: {len(BODY)}", f"Content-Type: {FORM}", body=BODY)
            )
            head = b"\n".join(s for s in answer.split(b"\r\n") if not s.startswith(b"Date:"))
            answers.add(head)

        assert len(answers) == 1
        assert answers.pop().startswith(b"HTTP/1.1 404 Not Found")
        assert receiver.events == []

    async def test_one_log_line(self, receiver, log):
        """Each refusal is one log line, which shows neither token nor number."""
        paths = self.wrong_paths(receiver)

        for path in paths:
            await receiver.talk(
                request(f"{path}?From={NUMBER}", f"Content-Length: {len(BODY)}", body=BODY)
            )

        assert len(ours(log)) == len(paths)
        check_quiet(log, *(path.rpartition("/")[2] for path in paths[-5:]))

    @pytest.mark.parametrize("headers", [["Content-Length: 500"], ["Transfer-Encoding: chunked"]])
    async def test_before_the_body(self, receiver, headers):
        """A wrong token is refused before anything of the body has come."""
        for path in self.wrong_paths(receiver):
            answer = await receiver.talk(request(path, *headers))

            assert answer.startswith(b"HTTP/1.1 404 ")

    async def test_too_large_and_forged(self, receiver):
        """To a wrong token even a body that is too large says 404."""
        answer = await receiver.talk(request("/exotel/x", "Content-Length: 999999999"))

        assert answer.startswith(b"HTTP/1.1 404 ")

    async def test_old_secret(self, session):
        """URLs made with the old secret are good while it is listed."""
        path = CallbackTokens([SECRET]).mint("order-42")
        tokens = CallbackTokens(["a new secret of ours", SECRET])

        async with receiving(tokens=tokens) as receiver:
            answer = await session.post(f"{receiver.base}/exotel/{path}", data=BODY, headers=TYPE)

        assert answer.status == 200
        assert receiver.events[0].ref == "order-42"

    async def test_expires_by_the_clock(self, session):
        """Whether a token has expired is for the clock to say."""
        clock = FakeClock()
        async with receiving(clock=clock) as receiver:
            url = receiver.base + receiver.path()
            clock.elapsed = timedelta(days=30).total_seconds()
            last = await session.post(url, data=BODY, headers=TYPE)
            clock.elapsed += 1
            late = await session.post(url, data=BODY, headers=TYPE)

        assert (last.status, late.status) == (200, 404)

    async def test_encoded_by_a_proxy(self, receiver):
        """A proxy may have percent-encoded the token's dots."""
        path = receiver.path().replace(".", "%2E")

        answer = await receiver.talk(
            request(path, f"Content-Length: {len(BODY)}", f"Content-Type: {FORM}", body=BODY)
        )

        assert answer.startswith(b"HTTP/1.1 200 ")

    async def test_without_tokens(self, session, caplog):
        """Without tokens every path is taken, and that is said loudly."""
        async with receiving(tokens=None) as receiver:
            for path in ("/exotel", "/exotel/", "/exotel/anything"):
                answer = await session.post(receiver.base + path, data=BODY, headers=TYPE)
                assert answer.status == 200

        assert [r.levelno for r in ours(caplog)] == [logging.WARNING]
        assert "forge" in caplog.text
        assert [event.ref for event in receiver.events] == [None] * 3


class TestMounting:
    @pytest.mark.parametrize(
        ("prefix", "mount"),
        [
            ("/exotel", lambda app, cb: app.add_subapp("/exotel", cb.app)),
            ("/exotel", lambda app, cb: app.add_subapp("/exotel/", cb.app)),
            ("/a/b-c/d", lambda app, cb: app.add_subapp("/a/b-c/d/", cb.app)),
            ("", lambda app, cb: app.add_routes(cb.routes())),
            ("", lambda app, cb: app.add_routes(cb.routes("/"))),
            ("/hooks", lambda app, cb: app.add_routes(cb.routes("/hooks"))),
            ("/hooks", lambda app, cb: app.add_routes(cb.routes("/hooks/"))),
            ("/own/7", lambda app, cb: app.router.add_post("/own/{id}/{tail:.*}", cb.handle)),
            ("/own/7", lambda app, cb: app.router.add_post("/own{tail:.*}", cb.handle)),
        ],
    )
    @pytest.mark.parametrize("slash", ["", "/"])
    async def test_anywhere(self, session, prefix, mount, slash):
        """It is received wherever it is mounted, with and without a slash at the end."""
        async with receiving(mount) as receiver:
            url = receiver.callbacks.url(f"{receiver.base}{prefix}{slash}", ref="x") + slash
            answer = await session.post(url, data=BODY, headers=TYPE)

        assert answer.status == 200
        assert receiver.events[0].ref == "x"

    @pytest.mark.parametrize("path", ["/exotel", "/exotel/"])
    async def test_health_check(self, receiver, session, path):
        """The bare prefix is a health check, with and without a slash."""
        assert (await session.get(receiver.base + path)).status == 200

    async def test_twice(self, session):
        """Mounted twice, it is received at both places."""

        def mount(app, callbacks):
            app.add_subapp("/one/", callbacks.app)
            app.add_subapp("/two/", callbacks.app)

        async with receiving(mount) as receiver:
            for prefix in ("/one", "/two"):
                url = receiver.base + receiver.path(prefix=prefix)
                assert (await session.post(url, data=BODY, headers=TYPE)).status == 200

        assert len(receiver.events) == 2

    async def test_two_of_them(self, session):
        """Two receivers with secrets of their own live side by side."""
        one, events_of_one = collecting()
        two, events_of_two = collecting(tokens=CallbackTokens(["another secret of mine"]))
        app = web.Application()
        app.add_subapp("/one/", one.app)
        app.add_subapp("/two/", two.app)

        async with serving(app) as port:
            base = f"http://127.0.0.1:{port}"
            right = await session.post(one.url(f"{base}/one/"), data=BODY, headers=TYPE)
            wrong = await session.post(one.url(f"{base}/two/"), data=BODY, headers=TYPE)

        assert (right.status, wrong.status) == (200, 404)
        assert (len(events_of_one), len(events_of_two)) == (1, 0)

    async def test_deep_inside(self, session):
        """It is received in a sub-app of a sub-app, whose own limit on bodies is not heeded."""

        def mount(app, callbacks):
            middle = web.Application(client_max_size=10)
            middle.add_subapp("/exotel/", callbacks.app)
            app.add_subapp("/api/", middle)

        async with receiving(mount) as receiver:
            url = receiver.base + receiver.path(prefix="/api/exotel")
            answer = await session.post(url, data=BODY, headers=TYPE)

        assert answer.status == 200

    def test_app_is_new(self):
        """Each access makes a new application: a frozen one can't be mounted again."""
        callbacks, _ = collecting()

        assert callbacks.app is not callbacks.app


class TestUrl:
    @pytest.mark.parametrize(
        ("base", "start", "end"),
        [
            ("https://example.com", "https://example.com/", ""),
            ("https://example.com/", "https://example.com/", ""),
            ("https://example.com/exotel", "https://example.com/exotel/", ""),
            ("https://example.com/exotel/", "https://example.com/exotel/", ""),
            ("https://example.com/exotel//", "https://example.com/exotel/", ""),
            ("http://u@example.com:8080/a%20b/", "http://u@example.com:8080/a%20b/", ""),
            ("https://example.com/exotel/?a=b&c=%2F", "https://example.com/exotel/", "?a=b&c=%2F"),
            ("https://[::1]:8080/x", "https://[::1]:8080/x/", ""),
        ],
    )
    def test_token_is_last_in_the_path(self, base, start, end):
        """The token is the last part of the path, before any query."""
        callbacks, _ = collecting()

        url = callbacks.url(base, ref="order-42")

        token = url.removeprefix(start).removesuffix(end)
        assert url == start + token + end
        assert CallbackTokens([SECRET]).verify(token) == "order-42"

    @pytest.mark.parametrize(
        "base",
        ["", "/exotel/", "example.com/exotel", "ftp://example.com", "https://", "https://[x"],
    )
    def test_no_url(self, base):
        """What is no absolute URL is refused."""
        callbacks, _ = collecting()

        with pytest.raises(InvalidRequestError, match="base"):
            callbacks.url(base)

    def test_without_tokens(self):
        """Without tokens the URL is the base, and there is nothing to vouch for a ref."""
        callbacks, _ = collecting(tokens=None)

        assert callbacks.url("https://example.com/exotel?a=b") == "https://example.com/exotel?a=b"
        with pytest.raises(InvalidRequestError, match="ref needs tokens"):
            callbacks.url("https://example.com/exotel", ref="x")


class TestReady:
    async def test_from_start_to_shutdown(self):
        """It is ready from start-up until shutdown begins, before the lifespans end."""
        callbacks, _ = collecting()
        seen = []

        async def note(app):
            seen.append(callbacks.ready())

        app = web.Application()
        app.add_subapp("/exotel/", callbacks.app)
        app.cleanup_ctx.append(callbacks.lifespan)
        app.on_startup.append(note)
        app.on_shutdown.append(note)
        app.on_cleanup.append(note)
        assert callbacks.ready() is False
        async with serving(app):
            seen.append(callbacks.ready())

        assert seen == [True, True, False, False]

    async def test_by_itself(self):
        """Without a sub-app the lifespan alone makes it ready."""
        callbacks, _ = collecting()
        living = callbacks.lifespan()

        await anext(living)
        assert callbacks.ready() is True
        with pytest.raises(StopAsyncIteration):
            await anext(living)
        assert callbacks.ready() is False

    async def test_again(self):
        """It may live again, in another application."""
        callbacks, _ = collecting()

        for _ in range(2):
            app = web.Application()
            app.add_subapp("/exotel/", callbacks.app)
            app.cleanup_ctx.append(callbacks.lifespan)
            async with serving(app):
                assert callbacks.ready() is True

        assert callbacks.ready() is False


class TestSettings:
    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("handler_timeout", 0),
            ("handler_timeout", -1),
            ("handler_timeout", float("nan")),
            ("handler_timeout", float("inf")),
            ("max_body", 0),
            ("time_zone", "Nowhere/At_All"),
        ],
    )
    def test_impossible(self, setting, value):
        """An impossible setting is refused by name."""
        with pytest.raises(ConfigurationError, match=setting):
            StatusCallbacks(tokens=CallbackTokens([SECRET]), **{setting: value})

    def test_needs_no_loop(self):
        """It is made, given handlers and mounted without a running loop."""
        callbacks, _ = collecting()

        web.Application().add_subapp("/exotel/", callbacks.app)

        assert callbacks.ready() is False


class TestSamples:
    async def test_page(self, receiver, session):
        """Exotel's printed payloads are received as they stand on its page."""
        form, content_type = multipart(form_sample("statuscallback_terminal.form.txt"))
        for body, claim in (
            (sample("statuscallback_terminal.json"), "application/json"),
            (form, content_type),
        ):
            answer = await session.post(
                receiver.base + receiver.path(), data=body, headers={"Content-Type": claim}
            )
            assert answer.status == 200

        assert [type(event) for event in receiver.events] == [CallTerminated] * 2
        assert json.loads(sample("statuscallback_terminal.json"))["CallSid"] in {
            event.call_sid for event in receiver.events
        }
