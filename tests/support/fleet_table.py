"""What a run of a fleet came to, in two tables that are printed at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from fleet_oracle import Verdict
from fleet_rates import Compared
from fleet_run import Played


def to_markdown(played: Played, verdict: Verdict) -> str:
    """Spell what happened, and what came of it."""
    happened = _table(("what happened", "times"), _happened(played))
    found = _table(("what must not be", "found"), _found(verdict))
    return "\n".join([*happened, "", *found])


def rates_to_markdown(compared: Compared) -> str:
    """Spell what several processes bring, against one."""
    head = ("a second", "1 process", f"{compared.several} processes", "ratio")
    rows = [
        (title, *_figures(compared.medians(name)))
        for title, name in (("callbacks received", "received"), ("delivered", "delivered"))
    ]
    return "\n".join(_table(head, rows))


def _figures(medians: tuple[float, float, float]) -> tuple[str, str, str]:
    alone, together, ratio = medians
    return f"{alone:,.0f}", f"{together:,.0f}", f"{ratio:.2f}"


def _happened(played: Played) -> list[tuple[str, str]]:
    size, found = played.size, played.evidence
    ends = Counter(end.outcome or "none" for end in found.ends.values())
    sources = Counter(end.source for end in found.ends.values() if end.outcome == "ended")
    acknowledged = sum(one.status == 200 for one in found.told)
    shared = sum(len(wish.dialers) > 1 for wish in found.wishes)
    posts = sum("/Calls/connect" in one.path for one in found.requests)
    rows = {
        "receivers, workers, dialers": f"{size.receivers}, {size.workers}, {size.dialers}",
        "accounts; minutes of Exotel's time": f"{size.accounts}; {size.minutes}",
        "seconds of real time": f"{played.seconds:.0f}",
        "receivers, workers, dialers killed": _joined(
            played.kills[role] for role in ("receiver", "worker", "dialer")
        ),
        "processes that stood still beyond their lease": played.kills["stopped"],
        "processes that found no server when they started": played.kills["in vain"],
        "restarts of the server, fast and immediate": _joined(
            played.restarts[mode] for mode in ("fast", "immediate")
        ),
        "keys, of which given to both dialers": f"{len(found.wishes)}, {shared}",
        "POSTs; calls": f"{posts}; {len(found.calls)}",
        "dials ended: told, asked, searched": _joined(
            sources[source] for source in ("callback", "poll", "match")
        ),
        "refused, not placed, unresolved": _joined(
            ends[state] for state in ("refused", "not_placed", "unresolved")
        ),
        "callbacks tried; answered 200": f"{len(found.told)}; {acknowledged}",
        "deliveries marked as done": sum(line["what"] == "mark" for line in found.lines),
        "requests answered 429 by Exotel's limit": played.limited,
    }
    return [(name, str(value)) for name, value in rows.items()]


def _found(verdict: Verdict) -> list[tuple[str, str]]:
    rows = {
        "callbacks, outcomes and dials lost": verdict.lost,
        "keys dialled twice": verdict.dialled_twice,
        "calls held by two workers": verdict.held_by_two,
        "calls told out of order": verdict.out_of_order,
        "deliveries marked twice, or made after": verdict.marked_wrongly,
        "outcomes that are not true": verdict.wrong,
        "accounts asked faster than their limit": verdict.too_fast,
        "processes that ended by themselves": verdict.unasked,
    }
    counted = [(name, str(len(found))) for name, found in rows.items()]
    return [*counted, ("handled again after a kill, as may be", str(verdict.again))]


def _joined(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = f"| {'-' * widths[0]} | " + " | ".join("-" * (w - 1) + ":" for w in widths[1:]) + " |"
    return [_line(head, widths), rule, *(_line(row, widths) for row in rows)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [row[0].ljust(widths[0])]
    cells += [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
    return f"| {' | '.join(cells)} |"
