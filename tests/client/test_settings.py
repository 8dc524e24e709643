"""Settings are checked when a client is made, and secrets stay secret."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exotel_async import IST, ConfigurationError, ExotelClient
from exotel_async.client.settings import credentials_from, is_loopback

from .conftest import MakeClient

ENVIRON = {
    "EXOTEL_ACCOUNT_SID": "acme1",
    "EXOTEL_API_KEY": "kkkkkkkk",
    "EXOTEL_API_TOKEN": "tttttttt",
    "EXOTEL_SUBDOMAIN": "api.in.exotel.com",
}


def settings_of(client: ExotelClient) -> Any:
    return client._door.settings


class TestExotelClient:
    """What may be set, and what not."""

    @pytest.mark.parametrize(
        ("region", "api", "flow"),
        [
            ("singapore", "https://api.exotel.com", "http://my.exotel.com"),
            ("mumbai", "https://api.in.exotel.com", "http://my.in.exotel.com"),
        ],
    )
    def test_region(self, region: str, api: str, flow: str, make_client: MakeClient) -> None:
        """The region picks the API's host and the flows'."""
        settings = settings_of(make_client(region=region))

        assert (settings.base_url, settings.flow_base_url) == (api, flow)

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("account_sid", ""),
            ("account_sid", None),
            ("account_sid", "half\ud800"),
            ("api_token", "line\nbreak"),
            ("api_key", "  "),
            ("api_key", "with:colon"),
            ("api_token", ""),
            ("region", "frankfurt"),
            ("base_url", "http://api.example.com"),
            ("base_url", "http://127.0.0.1.example.com"),
            ("base_url", "ftp://api.example.com"),
            ("base_url", "api.example.com"),
            ("base_url", "https://user:pw@api.example.com"),
            ("base_url", "https://api.example.com/?a=b"),
            ("base_url", "https://api.example.com:99999"),
            ("flow_base_url", "my.exotel.com"),
            ("time_zone", "Asia/Nowhere"),
            ("time_zone", 5),
            ("timeout", 0),
            ("timeout", -1.0),
            ("timeout", float("nan")),
            ("timeout", float("inf")),
            ("timeout", "30"),
            ("timeout", True),
            ("max_retries", -1),
            ("max_retries", 1.5),
            ("max_retries", True),
            ("requests_per_minute", 0),
            ("response_format", "yaml"),
            ("allow_http", "no"),
            ("session", "mine"),
            ("json_loads", "orjson"),
        ],
    )
    def test_impossible(self, setting: str, value: object, make_client: MakeClient) -> None:
        """An impossible setting is refused by its name."""
        with pytest.raises(ConfigurationError, match=setting):
            make_client(**{setting: value})

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:8900",
            "http://localhost",
            "http://[::1]:1",
            "https://proxy.example.com/exotel/",
        ],
    )
    def test_base_urls(self, url: str, make_client: MakeClient) -> None:
        """https goes anywhere, http stays on this machine."""
        assert settings_of(make_client(base_url=url)).base_url == url.rstrip("/")

    def test_allow_http(self, make_client: MakeClient) -> None:
        """Who insists may use http elsewhere."""
        client = make_client(base_url="http://gateway.example.com", allow_http=True)

        assert settings_of(client).base_url == "http://gateway.example.com"

    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("Asia/Kolkata", ZoneInfo("Asia/Kolkata")),
            (IST, IST),
            (timezone(timedelta(hours=8)), timezone(timedelta(hours=8))),
        ],
    )
    def test_time_zone(self, given: object, meant: object, make_client: MakeClient) -> None:
        """A zone is a tzinfo or a name."""
        assert settings_of(make_client(time_zone=given)).zone == meant

    def test_repr(self, make_client: MakeClient) -> None:
        """Neither key nor token is shown, by client, settings or resources."""
        client = make_client()

        shown = repr(client) + repr(client._door) + repr(client.calls) + repr(client.numbers)

        assert "https://api.exotel.com" in shown
        for secret in ("acme1", "kkkkkkkk", "tttttttt", "a2tra2tra2s6dHR0dHR0dHQ="):
            assert secret not in shown

    def test_refusals_show_no_secret(self, make_client: MakeClient) -> None:
        """An error about a credential does not hold it."""
        with pytest.raises(ConfigurationError) as caught:
            make_client(api_key="secretpart:x", api_token="hidden")

        assert "secretpart" not in str(caught.value)


class TestWithOptions:
    """A view with other settings."""

    def test_changes_only_what_is_named(self, make_client: MakeClient) -> None:
        """What is not named stays."""
        client = make_client(timeout=9.0, max_retries=4)

        quick = client.with_options(timeout=5.0)

        assert (settings_of(quick).timeout, settings_of(quick).max_retries) == (5.0, 4)
        assert settings_of(client).timeout == 9.0

    def test_zero_is_a_value(self, make_client: MakeClient) -> None:
        """No further tries can be asked for."""
        assert settings_of(make_client().with_options(max_retries=0)).max_retries == 0

    def test_shares_session_and_pacer(self, make_client: MakeClient) -> None:
        """A view goes through the same gate over the same connections."""
        client = make_client()

        view = client.with_options(response_format="xml")

        assert view._door.transport is client._door.transport
        assert view._door.pacer is client._door.pacer

    @pytest.mark.parametrize("options", [{"timeout": 0}, {"max_retries": -1}])
    def test_impossible(self, options: dict[str, Any], make_client: MakeClient) -> None:
        """A view is checked as a client is."""
        with pytest.raises(ConfigurationError):
            make_client().with_options(**options)


class TestFromEnviron:
    """Exotel's own variables."""

    def test_region_by_host(self) -> None:
        """EXOTEL_SUBDOMAIN tells the region, and with it the flow host."""
        settings = settings_of(ExotelClient.from_environ(environ=ENVIRON))

        assert settings.base_url == "https://api.in.exotel.com"
        assert settings.flow_base_url == "http://my.in.exotel.com"

    def test_names_what_is_missing(self) -> None:
        """The error names each missing variable, and no value of the others."""
        with pytest.raises(ConfigurationError) as caught:
            ExotelClient.from_environ(
                environ={**ENVIRON, "EXOTEL_API_TOKEN": " ", "EXOTEL_SUBDOMAIN": ""}
            )

        assert "EXOTEL_API_TOKEN, EXOTEL_SUBDOMAIN" in str(caught.value)
        assert "kkkkkkkk" not in str(caught.value)

    def test_reads_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a mapping the process's own environment is read."""
        for name, value in ENVIRON.items():
            monkeypatch.setenv(name, value)

        assert settings_of(ExotelClient.from_environ()).account_sid == "acme1"

    def test_no_base_url(self) -> None:
        """To say None for a base_url is to say nothing: the variable counts."""
        settings = settings_of(ExotelClient.from_environ(environ=ENVIRON, base_url=None))

        assert settings.flow_base_url == "http://my.in.exotel.com"

    def test_options_win(self) -> None:
        """What is said in code comes before the environment."""
        client = ExotelClient.from_environ(environ=ENVIRON, region="singapore", timeout=3.0)

        assert settings_of(client).base_url == "https://api.exotel.com"
        assert settings_of(client).timeout == 3.0

    @pytest.mark.parametrize("place", [{"region": "mumbai"}, {"base_url": "http://127.0.0.1:1"}])
    def test_placed_in_code(self, place: dict[str, Any]) -> None:
        """Who says in code where Exotel is needs no variable for it, nor is overruled by one."""
        credentials = {k: v for k, v in ENVIRON.items() if k != "EXOTEL_SUBDOMAIN"}
        elsewhere = {**credentials, "EXOTEL_SUBDOMAIN": "proxy.example.com"}

        for environ in (credentials, elsewhere):
            settings = settings_of(ExotelClient.from_environ(environ=environ, **place))

            assert settings.base_url in ("https://api.in.exotel.com", "http://127.0.0.1:1")

    @pytest.mark.parametrize(
        ("subdomain", "place"),
        [
            ("@api.exotel.com", {"region": "singapore"}),
            ("API.IN.EXOTEL.COM", {"region": "mumbai"}),
            ("127.0.0.1:8900", {"base_url": "http://127.0.0.1:8900"}),
            ("proxy.example.com", {"base_url": "https://proxy.example.com"}),
            ("http://localhost:1", {"base_url": "http://localhost:1"}),
        ],
    )
    def test_places(self, subdomain: str, place: dict[str, str]) -> None:
        """Other hosts are taken as they are, http only for this machine."""
        found = credentials_from({**ENVIRON, "EXOTEL_SUBDOMAIN": subdomain})

        assert {k: v for k, v in found.items() if k in ("region", "base_url")} == place
        assert "subdomain" not in found


class TestIsLoopback:
    """This machine, by name."""

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
    def test_here(self, host: str) -> None:
        """These are this machine whatever a resolver says."""
        assert is_loopback(host)

    @pytest.mark.parametrize(
        "host", ["10.0.0.1", "localhost.example.com", "127.0.0.1.nip.io", "", None]
    )
    def test_elsewhere(self, host: str | None) -> None:
        """These may be anywhere."""
        assert not is_loopback(host)
