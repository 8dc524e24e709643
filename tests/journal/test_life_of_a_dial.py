"""Whatever happens to a dial, in whatever order: nobody is rung twice, and every end is known."""

from __future__ import annotations

from datetime import timedelta

import attrs
from books import ACCOUNT, at_once, closing_all, intend, outcome, receipt
from campaign import examples
from clocks import FakeClock
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from exotel_async.journal import MemoryJournal
from exotel_async.journal.dialling import recover
from exotel_async.journal.dials import select
from exotel_async.journal.owners import register
from exotel_async.journal.records import Answered, Recorded
from exotel_async.models.dials import DialState

KEYS = ("k0", "k1", "k2", "k3")
OWNERS = 2
RETRY_IF = ((), ("refused", "not_sent", "not_placed"), ("not_placed",))
OVER = {"unresolved": {"ended", "refused", "not_placed"}, "not_placed": {"ended"}}


@attrs.define
class Truth:
    """What really became of a dial, and what was heard of it."""

    key: str
    rang: bool = False
    sent: list[str] = attrs.field(factory=list)  # the truth of each try that was allowed
    told_end: bool = False  # a true callback said so, and was not refused
    forged: bool = False
    rejected: int = 0
    states: list[str] = attrs.field(factory=list)
    outcomes: list[str] = attrs.field(factory=list)


class LifeOfADial(RuleBasedStateMachine):
    """Two processes, four keys, an Exotel, and somebody who forges callbacks."""

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.journals = [MemoryJournal(clock=self.clock) for _ in range(OWNERS)]
        at_once(self.journals[0]._open())
        for other in self.journals[1:]:
            other._connection = self.journals[0]._connection
            at_once(other._write(register))
        self.dials: dict[str, Truth] = {}
        self.taken = []

    def records(self):
        found = at_once(self.journals[0]._read(lambda tx: select(tx, "1 = 1")))
        return {record.ref: record for record in found}

    @initialize(with_forger=st.sampled_from([False, False, True]))
    def begin(self, with_forger):
        self.with_forger = with_forger

    def a_ref(self, data):
        """Take any dial, the last ones more often."""
        refs = list(self.dials)
        return data.draw(st.sampled_from([*refs, *refs[-2:], refs[-1]]), label="dial")

    def a_journal(self, data):
        return data.draw(st.sampled_from(self.journals), label="process")

    def its_journal(self, data, ref):
        """Take the process that a dial is in the hands of, mostly."""
        owner = self.records()[ref].owner if ref in self.records() else None
        ours = [journal for journal in self.journals if journal._owner == owner]
        return data.draw(st.sampled_from([*self.journals, *2 * ours]), label="process")

    # The dialer.

    @rule(data=st.data(), key=st.sampled_from(KEYS), retry_if=st.sampled_from(RETRY_IF))
    def dial(self, data, key, retry_if):
        ref = f"d{len(self.dials)}"
        intended = at_once(intend(self.a_journal(data), ref, key=key, retry_if=retry_if))

        if intended.fresh:
            self.dials[ref] = Truth(key)
        else:
            assert self.dials[intended.record.ref].key == key

    @precondition(lambda self: self.dials)
    @rule(data=st.data(), truth=st.sampled_from(["rings", "refused", "unsent"]))
    def send(self, data, truth):
        ref = self.a_ref(data)
        if at_once(self.its_journal(data, ref).sending(ref, patience=5.0)) is not None:
            self.dials[ref].sent.append(truth)
            self.dials[ref].rang |= truth == "rings"

    @rule(
        key=st.sampled_from(KEYS),
        retry_if=st.sampled_from(RETRY_IF),
        state=st.sampled_from([DialState.PLACED, DialState.UNKNOWN, None]),
    )
    def ring(self, key, retry_if, state):
        """All goes well, or the answer is lost, or it is not there yet."""
        ref, journal = f"d{len(self.dials)}", self.journals[0]
        if at_once(intend(journal, ref, key=key, retry_if=retry_if)).fresh:
            assert at_once(journal.sending(ref, patience=5.0)) is not None
            self.dials[ref] = Truth(key, rang=True, sent=["rings"])
            if state is not None:
                sid = f"c-{ref}" if state == DialState.PLACED else None
                at_once(journal.answered(ref, Answered(state=state, call_sid=sid)))

    @precondition(lambda self: any(truth.sent for truth in self.dials.values()))
    @rule(data=st.data(), lost=st.booleans(), again=st.booleans())
    def answer(self, data, lost, again):
        """Exotel's answer: the truth, or nothing."""
        ref = data.draw(st.sampled_from([r for r, t in sorted(self.dials.items()) if t.sent]))
        truth, journal = self.dials[ref].sent[-1], self.a_journal(data)
        if truth == "unsent" and again:
            at_once(journal.unsent(ref))
            return
        state = {
            "rings": DialState.PLACED, "refused": DialState.REFUSED, "unsent": DialState.NOT_SENT,
        }[truth]  # fmt: skip
        state = DialState.UNKNOWN if lost else state
        sid = f"c-{ref}" if state == DialState.PLACED else None
        at_once(journal.answered(ref, Answered(state=state, call_sid=sid)))

    # Callbacks.

    @precondition(lambda self: any(truth.rang for truth in self.dials.values()))
    @rule(data=st.data(), over=st.booleans(), note=st.sampled_from(["", "1", "2"]))
    def callback(self, data, over, note):
        ref = data.draw(st.sampled_from([r for r, t in sorted(self.dials.items()) if t.rang]))
        self.hear(ref, over, note)

    def hear(self, ref, over, note):
        kind = "terminal" if over else "answered"
        status = "completed" if over else "in-progress"
        coming = receipt(f"c-{ref}", dial=ref, EventType=kind, Status=status, Note=note)
        told = at_once(self.journals[0].record(coming))
        self.dials[ref].told_end |= over and told != Recorded.CONTRADICTION

    @precondition(lambda self: self.dials and self.with_forger)
    @rule(data=st.data(), sid=st.sampled_from(["x", "y"]))
    def forge(self, data, sid):
        ref = self.a_ref(data)
        self.dials[ref].forged = True
        at_once(self.journals[0].record(receipt(f"forged-{sid}", dial=ref)))

    # The reconciler.

    @rule(most=st.integers(1, 3))
    def take(self, most):
        self.taken += at_once(self.journals[0].due(ACCOUNT, most=most))

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def reconcile(self, data):
        """Decide on what was taken, perhaps long ago."""
        place = data.draw(st.integers(0, len(self.taken) - 1))
        self.decide(self.taken.pop(place))

    @precondition(lambda self: any(truth.rang for truth in self.dials.values()))
    @rule(seconds=st.sampled_from([200.0, 8000.0]), twice=st.booleans())
    def hear_while_reconciling(self, seconds, twice):
        """A callback comes between taking a dial and deciding on it; others decide meanwhile."""
        self.clock.elapsed += seconds
        taken = at_once(self.journals[0].due(ACCOUNT, most=9))
        for due in taken:
            if self.dials[due.record.ref].rang:
                self.hear(due.record.ref, True, "")
        for due in (*(at_once(self.journals[1].due(ACCOUNT, most=9)) if twice else ()), *taken):
            self.decide(due)

    def decide(self, due):
        journal, record = self.journals[0], due.record
        now = self.clock.now().timestamp()
        if record.sid_source == "callback" and record.call_sid.startswith("forged"):
            at_once(journal.reject(record.ref, call_sid=record.call_sid))
            self.dials[record.ref].rejected += 1
        elif due.ending is not None:
            at_once(journal.conclude(outcome(record)))
        elif now >= record.settle_by:
            at_once(journal.conclude(outcome(record, "unresolved")))
        else:
            at_once(journal.put_off(record.ref, until=now + 600.0, asked=True))

    # The world.

    @rule(seconds=st.sampled_from([1.0, 200.0, 2000.0, 8000.0, -3600.0]))
    def time_passes(self, seconds):
        self.clock.elapsed += seconds

    @rule(data=st.data())
    def die(self, data):
        """A process dies; another takes over, and a new one begins."""
        journal = self.a_journal(data)
        at_once(journal._write(recover, journal._owner))
        journal._owner += "'"
        at_once(journal._write(register))

    @rule(days=st.integers(0, 3))
    def prune(self, days):
        before = {ref for ref, record in self.records().items() if record.next_check is not None}
        at_once(self.journals[0].prune(older_than=timedelta(days=days)))
        assert before <= set(self.records())

    # What always holds.

    @invariant()
    def nobody_is_rung_twice(self):
        for key in KEYS:
            tries = [truth.sent for truth in self.dials.values() if truth.key == key]
            assert sum(sent.count("rings") for sent in tries) <= 1

    @invariant()
    def one_try_at_a_time(self):
        sending = [record.key for record in self.records().values() if record.state == "sending"]
        assert len(sending) == len(set(sending))

    @invariant()
    def somebody_looks_after_it(self):
        alive = {journal._owner for journal in self.journals}
        for ref, record in self.records().items():
            if record.state in ("intended", "sending"):
                assert record.owner in alive
            elif record.next_check is None:
                assert at_once(self.journals[0].look(ref))[1] is not None

    @invariant()
    def never_back_from_placed(self):
        for ref, record in self.records().items():
            states = self.dials[ref].states
            if not states or states[-1] != record.state:
                states.append(record.state)
            left = sum(one == "placed" for one in states[:-1])
            assert left <= self.dials[ref].rejected

    @invariant()
    def outcomes_change_once_at_most(self):
        for ref in self.records():
            told = at_once(self.journals[0].look(ref))[1]
            seen = self.dials[ref].outcomes
            if told is None:
                assert not seen
            elif not seen or seen[-1] != told.state:
                assert not seen or told.state in OVER[seen[-1]]
                seen.append(told.state)
            assert len(seen) <= 2

    def teardown(self):
        with closing_all(self.journals):
            self.in_the_end()

    def in_the_end(self):
        """When all are dead and time has passed, every end is known, and none is false."""
        for journal in self.journals:
            at_once(journal._write(recover, journal._owner))
        for _ in range(200):
            self.clock.elapsed += 1e5
            taken = at_once(self.journals[0].due(ACCOUNT, most=9))
            if not taken:
                break
            for due in taken:
                self.decide(due)
        else:
            raise AssertionError("there is no end of looking")
        for ref, record in self.records().items():
            told, truth = at_once(self.journals[0].look(ref))[1], self.dials[ref]
            assert told is not None
            if truth.told_end and not truth.forged:
                assert told.state == "ended"
            if told.state == "ended":
                assert truth.rang
                assert told.call_sid == record.call_sid == f"c-{ref}"
            if told.state == "refused":
                assert truth.sent[-1] == "refused"


TestLifeOfADial = LifeOfADial.TestCase
TestLifeOfADial.settings = examples(150)
