"""A real browser, if there is one: what it makes of a page, and what it looks like."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import struct
import zlib
from asyncio.subprocess import DEVNULL, PIPE
from html import unescape
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "microsoft-edge", "msedge")
BROWSER = next((found for found in map(shutil.which, NAMES) if found), None)
_DARK = "--blink-settings=preferredColorScheme=0"

_READER = """<!DOCTYPE html><iframe src="/page" style="width:%dpx;height:3000px;border:0"></iframe>
<script>
document.querySelector("iframe").onload = event => {
  const view = event.target.contentWindow, page = view.document;
  const texts = selector => [...page.querySelectorAll(selector)].map(one => one.textContent);
  const pre = document.createElement("pre");
  pre.textContent = JSON.stringify({
    headings: texts("h1, h2"),
    charts: page.querySelectorAll("svg[role=img]").length,
    marks: page.querySelectorAll("svg rect, svg line").length,
    tables: page.querySelectorAll("details table").length,
    scripts: page.querySelectorAll("script, img, iframe, link, object").length,
    loaded: view.performance.getEntriesByType("resource").length,
    width: page.documentElement.scrollWidth,
    background: view.getComputedStyle(page.body).backgroundColor,
    fills: [...new Set([...page.querySelectorAll("svg [class*=' s-']")]
      .map(one => view.getComputedStyle(one).fill))],
  });
  document.body.append(pre);
};
</script>"""


async def read(page: Path, *, width: int, dark: bool = False) -> dict[str, Any]:
    """Open a page so many pixels wide, and say what is in it."""
    app, text = web.Application(), page.read_text("utf-8")  # noqa: ASYNC240 - a small file

    async def shell(_: web.Request) -> web.Response:
        return web.Response(text=_READER % width, content_type="text/html")

    async def inner(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    app.router.add_get("/", shell)
    app.router.add_get("/page", inner)
    async with TestServer(app) as server:
        flags = ("--dump-dom", "--virtual-time-budget=3000", *([_DARK] if dark else []))
        out = await _run(*flags, str(server.make_url("/")), home=page.parent)
    told = out.decode().partition("<pre>")[2].partition("</pre>")[0]
    found: dict[str, Any] = json.loads(unescape(told))
    return found


async def shoot(page: Path, *, width: int, height: int) -> tuple[int, int, int]:
    """Take a screenshot; returns its width, its height, and of how many kinds its bytes are."""
    image = page.with_suffix(".png")
    size = f"--window-size={width},{height}"
    await _run(f"--screenshot={image}", size, "--hide-scrollbars", page.as_uri(), home=page.parent)
    return _measured(image.read_bytes())


async def _run(*flags: str, home: Path) -> bytes:
    assert BROWSER is not None
    own = ["--headless", "--disable-gpu", f"--user-data-dir={home / 'browser'}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        own.append("--no-sandbox")
    browser = await asyncio.create_subprocess_exec(
        BROWSER, *own, *flags, stdout=PIPE, stderr=DEVNULL
    )
    try:
        out, _ = await asyncio.wait_for(browser.communicate(), 60)
    finally:
        if browser.returncode is None:
            browser.kill()
            await browser.wait()
    return out


def _measured(png: bytes) -> tuple[int, int, int]:
    width, height = struct.unpack(">II", png[16:24])
    at, packed = 8, b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        packed += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    return width, height, len(set(zlib.decompress(packed)))
