"""Fixtures that all rooms share: our own plugin, and pytest's to test that with."""

from __future__ import annotations

pytest_plugins = ("pytester", "exotel_async.testing")
