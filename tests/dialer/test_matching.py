"""Whose is which record: no call for two dials, no false denial, whatever the traffic."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st
from traffic import CALL, LAST, RECORD, SENT, SKEW, at, spellings

from exotel_async import Call, DialState
from exotel_async.dialer.matching import View, matches, was_never_placed
from exotel_async.dialer.windows import Window, window_of
from exotel_async.journal.records import SENDING, DialRecord, Neighbour, Neighbours

WIDE = Window(int(SENT) - 3600, int(SENT) + 3600)
NUMBERS = ("9812300001", "9812300002", "9812300003")
KNOWN = attrs.evolve(
    RECORD, ref="known", state=DialState.PLACED, call_sid="sk", sid_source="answer",
    arguments={"from_": "+919812300008", "to": "+919812300009", "caller_id": "08040001234"},
    sent_at=SENT + 100, not_after=SENT + 105,
)  # fmt: skip
KNOWN_CALL = attrs.evolve(
    CALL, sid="sk", from_="09812300008", to="09812300009", date_created=at(SENT + 102)
)
TWIN = attrs.evolve(RECORD, ref="r2")
BEGAN = RECORD.settle_by + 1


def neighbour(record: DialRecord, **changes: bool) -> Neighbour:
    sure = record.sid_source in ("answer", "match")
    return Neighbour(record=record, **{"ours": True, "sure": sure, "heard": False} | changes)


def view(
    *calls: Call, rivals=(RECORD,), owners=(), pruned=(), witnesses=(), **changes: object
) -> View:
    """Spell what was read; dials that are mere records are ours."""
    rivals, owners = (
        tuple(one if isinstance(one, Neighbour) else neighbour(one) for one in several)
        for several in (rivals, owners)
    )
    books = Neighbours(rivals=rivals, owners=owners, pruned=frozenset(pruned))
    values = {"window": WIDE, "began": BEGAN, "skew": SKEW, "witnesses": witnesses}
    return View(calls=calls, neighbours=books, **values | changes)


def readable(*calls: Call, owners=(), **changes: object) -> View:
    """Spell it with a call that shows that the list can be read."""
    return view(KNOWN_CALL, *calls, owners=(KNOWN, *owners), **changes)


def pairs(seen: View) -> list[tuple[str, str]]:
    return [(match.ref, match.call.sid) for match in matches(seen)]


class TestMatches:
    def test_one_and_one(self):
        """One record and one dial that fit only each other are a match."""
        assert pairs(view(CALL)) == [("r1", "s1")]

    def test_two_unknowns_and_one_record(self):
        """Of two dials either may have it: neither gets it."""
        assert pairs(view(CALL, rivals=(RECORD, TWIN))) == []

    @pytest.mark.parametrize("state", [SENDING, DialState.INTENDED])
    def test_rival_still_sending(self, state):
        """One that is just being sent may have it, too."""
        assert pairs(view(CALL, rivals=(RECORD, attrs.evolve(TWIN, state=state)))) == []

    def test_rival_of_another_service(self):
        """A dial of another namespace is a rival, and is given nothing here."""
        other = neighbour(TWIN, ours=False)

        assert pairs(view(CALL, rivals=(RECORD, other))) == []
        assert pairs(view(CALL, rivals=(other,))) == []

    def test_rival_with_a_doubtful_sid(self):
        """One whose sid only a callback named, which may be made up, is a rival."""
        doubtful = attrs.evolve(
            TWIN, state=DialState.PLACED, call_sid="made up", sid_source="callback"
        )

        assert pairs(view(CALL, rivals=(RECORD, doubtful))) == []

    def test_rival_that_hides(self):
        """A dial that could be meant, and no more, is a rival all the same."""
        hidden = attrs.evolve(TWIN, arguments=RECORD.arguments | {"from_": "sip:someone"})

        assert pairs(view(CALL, rivals=(RECORD, hidden))) == []

    def test_foreign_call_to_the_same_pair(self):
        """Of two records either may be the dial's: none is taken."""
        assert pairs(view(CALL, attrs.evolve(CALL, sid="s2"))) == []

    @pytest.mark.parametrize(
        "changes", [{"from_": None}, {"date_created": None}, {"direction": "new"}]
    )
    def test_second_record_that_hides(self, changes):
        """A record that could be meant, and no more, is in doubt all the same."""
        assert pairs(view(CALL, attrs.evolve(CALL, sid="s2", **changes))) == []

    def test_merely_possible(self):
        """What could be the dial's call but does not fit is no match."""
        assert pairs(view(attrs.evolve(CALL, to=None))) == []

    def test_known_elsewhere(self):
        """A call that is another dial's is no match, nor in the way of one."""
        owner = attrs.evolve(TWIN, state=DialState.PLACED, call_sid="s1", sid_source="answer")

        assert pairs(view(CALL, owners=(owner,))) == []
        assert pairs(view(CALL, attrs.evolve(CALL, sid="s2"), owners=(owner,))) == [("r1", "s2")]

    def test_claimed_by_a_callback(self):
        """A call that a callback named for another dial is no match, and in the way of one."""
        owner = attrs.evolve(TWIN, state=DialState.PLACED, call_sid="s1", sid_source="callback")

        assert pairs(view(CALL, owners=(owner,))) == []
        assert pairs(view(CALL, attrs.evolve(CALL, sid="s2"), owners=(owner,))) == []

    def test_pruned(self):
        """A call of a dial that was erased is nobody else's."""
        assert pairs(view(CALL, pruned={"s1"})) == []

    def test_shown_ref(self):
        """A record that shows our ref decides, whoever else may be meant."""
        shown = attrs.evolve(CALL, custom_field="r1")
        unclear = attrs.evolve(CALL, sid="s2")

        assert pairs(view(shown, unclear, rivals=(RECORD, TWIN))) == [("r1", "s1")]
        assert pairs(view(shown, attrs.evolve(shown, sid="s2"))) == []

    def test_both_shown(self):
        """Two twins whose records show their refs get each its own."""
        calls = [attrs.evolve(CALL, sid=f"s{i}", custom_field=f"r{i}") for i in (1, 2)]

        assert pairs(view(*calls, rivals=(RECORD, TWIN))) == [("r1", "s1"), ("r2", "s2")]

    def test_window_in_part(self):
        """A dial whose window was not read to its ends gets nothing."""
        assert pairs(view(CALL, window=Window(int(SENT), LAST))) == []

    def test_wrong_zone(self):
        """Where a known call shows another time than its own, no time says anything."""
        shifted = attrs.evolve(KNOWN_CALL, date_created=at(SENT + 102 - 1800))

        assert pairs(view(shifted, CALL, owners=(KNOWN,))) == []

    def test_not_unknown(self):
        """Only unknown dials are given calls."""
        assert pairs(view(CALL, rivals=(attrs.evolve(RECORD, state=SENDING),))) == []


class TestWasNeverPlaced:
    def test_proven(self):
        """The whole window, readable, past the horizon, without a record that could be it."""
        foreign = attrs.evolve(CALL, from_="09812300003")

        assert was_never_placed(RECORD, readable(foreign))

    @pytest.mark.parametrize(
        "changes",
        [{}, {"from_": None}, {"to": "sip:them"}, {"date_created": None}, {"direction": None},
         {"date_created": at(SENT - 60)}, {"date_created": at(LAST)}, {"custom_field": "r1"}],
    )  # fmt: skip
    def test_possible(self, changes):
        """One record that could be it is enough to deny nothing."""
        assert not was_never_placed(RECORD, readable(attrs.evolve(CALL, **changes)))

    @pytest.mark.parametrize("second", [SENT - 61, LAST + 1])
    def test_borders(self, second):
        """A second outside the window it is not."""
        assert was_never_placed(RECORD, readable(attrs.evolve(CALL, date_created=at(second))))

    def test_three_hours_and_59_minutes(self):
        """A call that goes on is in no list: before the horizon nothing is denied."""
        assert not was_never_placed(RECORD, readable(began=SENT + 4 * 3600 - 60))
        assert not was_never_placed(RECORD, readable(began=RECORD.settle_by - 1))
        assert was_never_placed(RECORD, readable(began=RECORD.settle_by))

    def test_window_in_part(self):
        """A window that was not read to its ends denies nothing."""
        window = window_of(RECORD, skew=SKEW)

        assert was_never_placed(RECORD, readable(window=window))
        assert not was_never_placed(RECORD, readable(window=Window(window.first + 1, window.last)))
        assert not was_never_placed(RECORD, readable(window=Window(window.first, window.last - 1)))

    def test_nothing_known(self):
        """An empty list, or one of strangers, may be that of another account."""
        assert not was_never_placed(RECORD, view())
        assert not was_never_placed(RECORD, view(attrs.evolve(CALL, from_="09812300003")))

    @pytest.mark.parametrize("source", ["callback", "match"])
    def test_known_by_hearsay(self, source):
        """Only a sid that connect itself named shows that the list can be read."""
        hearsay = attrs.evolve(KNOWN, sid_source=source)

        assert not was_never_placed(RECORD, view(KNOWN_CALL, owners=(hearsay,)))

    @pytest.mark.parametrize("shift", [-19_800, -1800, 1800, 3600, 19_800])
    def test_wrong_zone(self, shift):
        """A known call in another time than its own shows that the zone is wrong."""
        shifted = attrs.evolve(KNOWN_CALL, date_created=at(SENT + 102 + shift))

        assert not was_never_placed(RECORD, view(shifted, owners=(KNOWN,)))
        assert not was_never_placed(
            RECORD, readable(attrs.evolve(shifted, sid="sl"),
                             owners=(attrs.evolve(KNOWN, ref="k2", call_sid="sl"),))
        )  # fmt: skip

    def test_lacking(self):
        """A call of ours that should be there for long, and is not, shows that it has gaps."""
        witness = attrs.evolve(KNOWN, ref="k2", call_sid="not there")
        young = attrs.evolve(witness, settle_by=BEGAN + 60)
        far = attrs.evolve(witness, sent_at=SENT + 9000, not_after=SENT + 9005)

        assert not was_never_placed(RECORD, readable(witnesses=(KNOWN, witness)))
        assert was_never_placed(RECORD, readable(witnesses=(KNOWN, young, far)))

    def test_heard(self):
        """A dial of which a callback told, though of a wrong sid, is not denied."""
        assert not was_never_placed(RECORD, readable(rivals=[neighbour(RECORD, heard=True)]))

    def test_no_longer_unknown(self):
        """One that has found its call meanwhile is not denied."""
        assert not was_never_placed(RECORD, readable(rivals=()))

    def test_others_call(self):
        """A call that could be it, but is another dial's by Exotel's word, is not in the way."""
        sure = attrs.evolve(TWIN, state=DialState.PLACED, call_sid="s1", sid_source="answer")
        doubtful = attrs.evolve(sure, sid_source="callback")

        assert was_never_placed(RECORD, readable(CALL, owners=(sure,)))
        assert not was_never_placed(RECORD, readable(CALL, owners=(doubtful,)))
        assert not was_never_placed(RECORD, readable(CALL, pruned={"s1"}))


@attrs.frozen(kw_only=True)
class Traffic:
    """What really happened: dials with their calls, if any, and calls of others."""

    dials: tuple[DialRecord, ...]
    calls: dict[str, Call]  # of dials, by ref
    foreign: tuple[Call, ...]

    @property
    def seen(self) -> View:
        rivals = [one for one in self.dials if one.state != DialState.PLACED or _doubtful(one)]
        return view(
            *self.calls.values(), *self.foreign, rivals=rivals,
            owners=[one for one in self.dials if one.call_sid],
        )  # fmt: skip


def _doubtful(record: DialRecord) -> bool:
    return record.sid_source == "callback"


FATES = ("placed", "called back", "lost", "never", "sending", "sent in vain")


@st.composite
def traffic(draw: st.DrawFn, *, foreign: int = 3) -> Traffic:
    """Draw traffic between few numbers in little time, with clocks up to a minute apart."""
    offset = draw(st.floats(-60, 60))
    shows = draw(st.booleans())
    dials, calls = [], {}
    for i in range(draw(st.integers(1, 5))):
        fate = draw(st.sampled_from(FATES)) if i else draw(st.sampled_from(["lost", "never"]))
        record = _dial(draw, f"r{i}", fate)
        if fate not in ("never", "sent in vain"):
            late = draw(st.floats(0, 240))
            calls[record.ref] = _call(
                draw, f"s{i}", record.arguments, record.sent_at + late + offset,
                custom_field=record.ref if shows else None,
            )  # fmt: skip
        dials.append(record)
    others = tuple(
        _call(
            draw, f"f{i}", _arguments(draw), SENT + draw(st.floats(-400, 900)),
            custom_field=draw(st.sampled_from([None, "", "theirs"])),
        )
        for i in range(draw(st.integers(0, foreign)))
    )  # fmt: skip
    return Traffic(dials=tuple(dials), calls=calls, foreign=others)


def _dial(draw: st.DrawFn, ref: str, fate: str) -> DialRecord:
    sent_at = SENT + draw(st.floats(0, 600))
    state, source = {
        "placed": (DialState.PLACED, "answer"), "called back": (DialState.PLACED, "callback"),
        "sending": (SENDING, None), "sent in vain": (SENDING, None),
    }.get(fate, (DialState.UNKNOWN, None))  # fmt: skip
    return attrs.evolve(
        RECORD, ref=ref, state=state, sid_source=source,
        call_sid=ref.replace("r", "s") if source else None,
        sent_at=sent_at, not_after=sent_at + 5, arguments=_arguments(draw),
        settle_by=SENT + draw(st.floats(2000, 16_000)),
    )  # fmt: skip


def _arguments(draw: st.DrawFn) -> dict[str, str]:
    one, other = draw(st.permutations(NUMBERS))[:2]
    spelt = {"from_": draw(st.sampled_from(spellings(one))), "caller_id": "08040001234"}
    if draw(st.integers(0, 3)):
        spelt["to"] = draw(st.sampled_from(spellings(other)))
    if not draw(st.integers(0, 3)):
        spelt["custom_field"] = "the user's"
    return spelt


def _call(
    draw: st.DrawFn, sid: str, arguments: dict[str, str], second: float, *, custom_field: str | None
) -> Call:
    """Spell a record: other spellings, sides exchanged, now and then with something hidden."""
    own = arguments.get("custom_field")
    sides = [arguments["from_"], arguments.get("to") or arguments["caller_id"]]
    bare = ("".join(filter(str.isdecimal, side))[-10:] for side in sides)
    spelt = [draw(st.sampled_from(spellings(number))) for number in bare]
    if not draw(st.integers(0, 5)):
        spelt[draw(st.integers(0, 1))] = draw(
            st.sampled_from([None, "", "sip:a@b", "0804000-1234"])
        )
    from_, to = draw(st.permutations(spelt))
    unreadable = not draw(st.integers(0, 9))
    return Call(
        sid=sid, from_=from_, to=to,
        direction=draw(st.sampled_from(["outbound-api"] * 5 + [None, "unheard-of"])),
        date_created=None if unreadable else at(second).replace(microsecond=0),
        custom_field=own if custom_field and own else custom_field,
    )  # fmt: skip


class TestTraffic:
    @examples(400)
    @given(real=traffic(), began=st.floats(SENT, SENT + 20_000))
    def test_no_false_denial(self, real, began):
        """A dial whose call is in the list is never said not to have been placed."""
        seen = attrs.evolve(real.seen, began=began)
        denied = {one.ref for one in real.dials if was_never_placed(one, seen)}

        assert not denied & real.calls.keys()

    @examples(400)
    @given(real=traffic())
    def test_no_call_for_two(self, real):
        """No dial gets two calls, no call goes to two dials, none to another than its own."""
        told = pairs(real.seen)
        known = {one.call_sid for one in real.dials if one.call_sid}

        assert all(times == 1 for times in Counter(ref for ref, _ in told).values())
        assert all(times == 1 for times in Counter(sid for _, sid in told).values())
        assert not known & {sid for _, sid in told}

    @examples(400)
    @given(real=traffic(foreign=0))
    def test_the_right_ones(self, real):
        """As long as nobody else uses the account, each match is the right one."""
        assert all(sid == real.calls[ref].sid for ref, sid in pairs(real.seen))

    @examples(300)
    @given(real=traffic(), shift=st.sampled_from([-39_600, -19_800, -1800, 1800, 19_800]))
    def test_wrong_zone(self, real, shift):
        """With the wrong zone nothing is ever denied."""
        shifted = [
            attrs.evolve(call, date_created=at(call.date_created.timestamp() + shift))
            for call in real.seen.calls
            if call.date_created is not None
        ]
        seen = attrs.evolve(
            real.seen,
            calls=tuple(one for one in shifted if WIDE.holds(int(one.date_created.timestamp()))),
        )

        assert not any(was_never_placed(one, seen) for one in real.dials)
