"""`exotel-async doctor`: find out why Exotel can't be asked, with one harmless request."""

from __future__ import annotations

from functools import partial

import click

from exotel_async.client.probe import probe
from exotel_async.errors import ConfigurationError

from .diagnosis import (
    Finding,
    probe_findings,
    region_finding,
    setting_finding,
    settings_findings,
)
from .exit_status import ExitStatus
from .options import common, screen_of, world_of
from .screen import Screen
from .world import Job, World


@click.command(short_help="Find out why Exotel can't be asked.")
@common
@click.pass_context
def doctor(context: click.Context, /, **_: object) -> Job:
    """Check settings, region, reachability, credentials and clock.

    One request is sent, which reads one record and changes nothing. The exit status is 0 if all
    is well.
    """
    return Job(run=partial(_examine, world_of(context), screen_of(context)))


async def _examine(world: World, screen: Screen) -> ExitStatus:
    worst = ExitStatus.FINE
    for finding in await _findings(world):
        _show(finding, screen)
        if not finding.well and worst is ExitStatus.FINE:
            worst = finding.status
    return worst


async def _findings(world: World) -> list[Finding]:
    """Look at one thing after the other, as far as the one before allows."""
    found = list(settings_findings(world.environ))
    subdomain = world.environ.get("EXOTEL_SUBDOMAIN", "")
    if subdomain.strip():
        found.append(region_finding(subdomain))
    try:
        exotel = world.client()
    except ConfigurationError as error:
        return [*found, setting_finding(error)] if all(f.well for f in found) else found
    async with exotel:
        return [*found, *probe_findings(await probe(exotel))]


def _show(finding: Finding, screen: Screen) -> None:
    good, bad = ("✓", "✗") if "utf" in screen.out.encoding.lower() else ("ok", "!!")
    mark, style = (good, "green") if finding.well else (bad, "red")
    if finding.well and finding.advice:
        mark, style = "!", "yellow"
    screen.show(finding, f"{mark} {finding.says}", style=style)
    if finding.advice and not screen.as_json:
        screen.line(f"  {'→' if bad == '✗' else '>'} {finding.advice}")
