"""Fixtures that all rooms share."""

from __future__ import annotations

import aioresponses_shim

aioresponses_shim.install()
