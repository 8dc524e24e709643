"""Which tables does a journal have, and how does an older one become a newer one.

Each step is run once, in a transaction of its own, and never changed after its release. A step
that an older release cannot live with raises `MIN_READER`.
"""

from __future__ import annotations

MIN_READER = 1  # the oldest schema whose code may use a store of the newest

_FIRST = """
CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY, schema INTEGER NOT NULL, min_reader INTEGER NOT NULL
);
INSERT INTO meta VALUES (1, 0, 1);

CREATE TABLE owners (owner TEXT PRIMARY KEY, beat INTEGER NOT NULL, since REAL NOT NULL);

-- A key outlives its dial: forgotten, it would dial again.
CREATE TABLE keys (
    ns TEXT NOT NULL, account TEXT NOT NULL, idem_key TEXT NOT NULL,
    seal TEXT NOT NULL, ref TEXT NOT NULL, attempt INTEGER NOT NULL, made_at REAL NOT NULL,
    state TEXT, call_sid TEXT, outcome TEXT,  -- filled in when the dial itself is pruned
    PRIMARY KEY (ns, account, idem_key)
);
CREATE INDEX keys_alone ON keys (ns, made_at) WHERE state IS NOT NULL;
CREATE INDEX keys_by_sid ON keys (account, call_sid) WHERE call_sid IS NOT NULL;

CREATE TABLE dials (
    ref TEXT PRIMARY KEY, ns TEXT NOT NULL, account TEXT NOT NULL, idem_key TEXT NOT NULL,
    attempt INTEGER NOT NULL, state TEXT NOT NULL, owner TEXT NOT NULL, arguments TEXT NOT NULL,
    longest REAL NOT NULL, intended_at REAL NOT NULL, sent_at REAL, not_after REAL,
    settle_by REAL, next_check REAL, checks INTEGER NOT NULL,
    call_sid TEXT, sid_source TEXT, error TEXT
);
CREATE INDEX dials_under_way ON dials (owner) WHERE state IN ('intended', 'sending');
CREATE INDEX dials_due ON dials (ns, account, next_check) WHERE next_check IS NOT NULL;
CREATE INDEX dials_by_age ON dials (ns, intended_at);
CREATE INDEX dials_by_sending ON dials (account, sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX dials_by_sid ON dials (account, call_sid) WHERE call_sid IS NOT NULL;
-- A call that was matched is one dial's, whoever else matches it at the same moment.
CREATE UNIQUE INDEX dials_matched ON dials (account, call_sid) WHERE sid_source = 'match';

CREATE TABLE outcomes (
    ref TEXT PRIMARY KEY, state TEXT NOT NULL, source TEXT NOT NULL,
    confirmed INTEGER NOT NULL, revision INTEGER NOT NULL, corrected INTEGER NOT NULL,
    body TEXT NOT NULL, learned_at REAL NOT NULL
);

CREATE TABLE receipts (
    id INTEGER PRIMARY KEY, ns TEXT NOT NULL, kind TEXT NOT NULL, ref TEXT NOT NULL,
    call_sid TEXT NOT NULL, digest BLOB NOT NULL, received_at REAL NOT NULL, mark TEXT,
    content_type TEXT, query TEXT, body BLOB,
    UNIQUE (ns, kind, ref, call_sid, digest)
);
CREATE INDEX receipts_whole ON receipts (ns, received_at) WHERE body IS NOT NULL;
CREATE INDEX receipts_erased ON receipts (ns, received_at) WHERE body IS NULL;

-- One row for each thing that happened; it waits until a handler has seen it.
CREATE TABLE events (
    id INTEGER PRIMARY KEY, ns TEXT NOT NULL, lane TEXT NOT NULL, identity TEXT NOT NULL,
    topic TEXT NOT NULL, kind TEXT, ref TEXT, call_sid TEXT,
    receipt INTEGER,  -- the one that says it all, as long as nothing was merged
    merged TEXT,
    revision INTEGER NOT NULL, delivered INTEGER NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL, done TEXT NOT NULL, run_at REAL NOT NULL, made_at REAL NOT NULL,
    error TEXT,
    UNIQUE (ns, lane, identity)
);
CREATE INDEX events_due ON events (ns, topic, run_at, id) WHERE state = 'waiting';
CREATE INDEX events_dead ON events (ns) WHERE state = 'dead';
CREATE INDEX events_by_age ON events (ns, made_at);

-- A call that somebody works on. The fence is never used twice.
CREATE TABLE lanes (
    fence INTEGER PRIMARY KEY AUTOINCREMENT, ns TEXT NOT NULL, lane TEXT NOT NULL,
    owner TEXT NOT NULL,
    suspect INTEGER NOT NULL,  -- 1, once at a time: nobody ever came back, and it's tried again
    UNIQUE (ns, lane)
);
CREATE UNIQUE INDEX lanes_of_suspects ON lanes (ns) WHERE suspect = 1;
CREATE INDEX lanes_of_owner ON lanes (owner);

CREATE TABLE pacing (
    account TEXT PRIMARY KEY, ring TEXT NOT NULL, held_at REAL NOT NULL, held_until REAL NOT NULL
);
"""

STEPS: tuple[str, ...] = (_FIRST,)


def statements(step: str) -> list[str]:
    """Cut a step into its statements."""
    bare = "\n".join(line.partition("--")[0] for line in step.splitlines())
    return [text.strip() for text in bare.split(";") if text.strip()]
