"""Who lives, and what was done to them: the processes of a fleet, each replaced when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import attrs
from fleet_plan import IN_VAIN, Plan
from fleet_zygote import Zygote

LOOK = 0.02  # seconds of real time between two looks at who lives
_TAIL = 20_000  # bytes
_PARTING = 10.0  # seconds of real time for all to end by themselves


@attrs.define(eq=False)
class Process:
    """One process of the fleet."""

    plan: Plan
    pid: int
    condemned: bool = False


@attrs.define(eq=False)
class Fleet:
    """All processes, and what was done to them."""

    zygote: Zygote
    plans: list[Plan]  # one for each place
    living: list[Process] = attrs.field(factory=list)
    died: dict[int, float] = attrs.field(factory=dict)
    frozen: dict[int, list[tuple[float, float]]] = attrs.field(factory=dict)
    standing: set[int] = attrs.field(factory=set)  # places in which nobody moves
    unasked: list[str] = attrs.field(factory=list)
    kills: Counter[str] = attrs.field(factory=Counter)
    numbers: int = 0

    def start_all(self) -> None:
        """Start one process in each place."""
        self.living = [self._start(plan) for plan in self.plans]

    def _start(self, plan: Plan) -> Process:
        plan = attrs.evolve(plan, number=self.numbers)
        self.numbers += 1
        return Process(plan, self.zygote.fork(plan.to_text()))

    async def look_after(self) -> None:
        """Start another process wherever one has ended; for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK)

    def look(self) -> None:
        """Start another process wherever one has ended."""
        self.zygote.listen()
        for place, process in enumerate(self.living):
            if process.pid in self.zygote.ended:
                self._note_end(process)
                self.living[place] = self._start(process.plan)

    def _note_end(self, process: Process) -> None:
        status = self.zygote.ended[process.pid]
        if status == IN_VAIN:  # whoever looks after processes tries again
            self.kills["in vain"] += 1
        elif not process.condemned:
            self.died[process.plan.number] = time.monotonic()
            self.unasked.append(f"{process.plan.name} ended by itself: {status}")

    def is_at_work(self, place: int) -> bool:
        """Tell whether a handler of whoever has this place is at work, and for a while yet."""
        process = self.living[place]
        with Path(process.plan.folder, "lines").open("rb") as lines:
            lines.seek(-min(lines.seek(0, os.SEEK_END), _TAIL), os.SEEK_END)
            _, *whole = lines.read().split(b"\n")
        told = [json.loads(line) for line in filter(None, whole)]
        soon = time.monotonic() + LOOK
        return any(
            line["what"] == "start" and line["at"] + line["seconds"] > soon
            for line in told
            if line["process"] == process.plan.number
        )

    def kill(self, place: int) -> None:
        """Kill whoever has this place."""
        process = self.living[place]
        process.condemned = True
        self.zygote.signal(process.pid, signal.SIGKILL)
        self.died[process.plan.number] = time.monotonic()
        self.kills[process.plan.role] += 1

    async def stop_for(self, place: int, seconds: float) -> None:
        """Have whoever has this place stand still for a while."""
        process = self.living[place]
        began = time.monotonic()
        self.standing.add(place)
        self.zygote.signal(process.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.zygote.signal(process.pid, signal.SIGCONT)
            self.standing.discard(place)
            spans = self.frozen.setdefault(process.plan.number, [])
            spans.append((began, time.monotonic()))
            self.kills["stopped"] += 1

    async def end(self) -> None:
        """Ask all to end, and kill who does not in time."""
        for process in self.living:
            process.condemned = True
            self.zygote.signal(process.pid, signal.SIGTERM)
        until = time.monotonic() + _PARTING
        while any(one.pid not in self.zygote.ended for one in self.living):
            if time.monotonic() > until:
                break
            await asyncio.sleep(LOOK)
            self.zygote.listen()
        for process in self.living:
            if self.zygote.ended.get(process.pid) != 0:
                self.unasked.append(f"{process.plan.name} did not end when it was asked to")

    def kill_all(self) -> None:
        """Kill whoever is left."""
        for process in self.living:
            process.condemned = True
            self.zygote.signal(process.pid, signal.SIGKILL)
