"""What does a piece of code cost, counted in Python's own instructions: the same on any machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_TOOL = 4  # a number that neither debuggers nor coverage take


def instructions(act: Callable[[], object]) -> int:
    """Count the bytecode instructions that are carried out; what is written in C costs nothing."""
    return _monitored(act) if sys.version_info >= (3, 12) else _traced(act)


def _monitored(act: Callable[[], object]) -> int:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # not in 3.11
    count = 0

    def met(*_: object) -> None:
        nonlocal count
        count += 1

    each = monitoring.events.INSTRUCTION
    monitoring.use_tool_id(_TOOL, "costs")
    try:
        monitoring.register_callback(_TOOL, each, met)
        monitoring.set_events(_TOOL, each)
        act()
    finally:
        monitoring.set_events(_TOOL, 0)
        monitoring.free_tool_id(_TOOL)
    return count


def _traced(act: Callable[[], object]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count
