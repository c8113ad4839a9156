"""What the SQLite ledger's tables look like, and how a file of an older version becomes one of this version.

`STEPS[n]` makes version n + 1 of version n; the first makes a ledger of an empty file. To change the schema, append
a step. A released step is never edited: files that it made exist.
"""

from __future__ import annotations

# A message without a row is pending: rows are dense from 0 to the last ever claimed. `fence` counts the
# claims of a message, `attempts` those that were not released. Times are milliseconds UTC. The partial index
# holds only messages that wait for another try, so a smooth run never writes it.
_VERSION_1 = """
CREATE TABLE run (
    key INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    campaign TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('live', 'sandbox', 'rehearsal', 'test')),
    provider TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    source TEXT,
    rows INTEGER NOT NULL,
    messages INTEGER NOT NULL CHECK (messages >= 0),
    skipped INTEGER NOT NULL CHECK (skipped >= 0),
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)),
    account TEXT,
    CONSTRAINT rows_add_up CHECK (rows = messages + skipped)
) STRICT;

CREATE TABLE message (
    run INTEGER NOT NULL REFERENCES run (key),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    state TEXT NOT NULL CHECK (state IN ('pending', 'intent', 'accepted', 'rejected', 'unknown')),
    attempts INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    intent_at INTEGER NOT NULL,
    deadline INTEGER,
    not_before INTEGER,
    message_id TEXT,
    status TEXT,
    provider_status TEXT,
    reason TEXT,
    error_code TEXT,
    error_message TEXT,
    segments INTEGER,
    price TEXT,
    currency TEXT,
    created_at INTEGER,
    sent_at INTEGER,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (run, seq),
    CONSTRAINT only_an_intent_has_a_deadline CHECK ((state = 'intent') = (deadline IS NOT NULL)),
    CONSTRAINT only_pending_waits CHECK ((state = 'pending') = (not_before IS NOT NULL)),
    CONSTRAINT only_accepted_has_an_id CHECK ((state = 'accepted') = (message_id IS NOT NULL)),
    CONSTRAINT only_accepted_has_a_status CHECK ((state = 'accepted') = (status IS NOT NULL)),
    CONSTRAINT rejected_says_why CHECK (state <> 'rejected' OR reason IS NOT NULL),
    CONSTRAINT only_pending_may_have_no_attempt CHECK (attempts >= (state <> 'pending')),
    CONSTRAINT attempts_were_claimed CHECK (attempts <= fence)
) WITHOUT ROWID, STRICT;

CREATE INDEX message_waiting ON message (run, not_before, seq) WHERE state = 'pending';
"""

# `report` keeps what a provider said too early (its message's outcome is not written yet) or about a message that is
# not known here. `run` and `seq` are what its ref names, if it has one. The unique index lets a doubled one in once,
# and finds a message's reports by its id.
_VERSION_2 = """
ALTER TABLE message ADD COLUMN final_at INTEGER;

CREATE TABLE report (
    key INTEGER PRIMARY KEY,
    run INTEGER REFERENCES run (key),
    seq INTEGER,
    message_id TEXT NOT NULL,
    status TEXT,
    provider_status TEXT,
    reason TEXT,
    error_code TEXT,
    error_message TEXT,
    segments INTEGER,
    price TEXT,
    currency TEXT,
    sent_at INTEGER,
    reported_at INTEGER,
    received_at INTEGER NOT NULL,
    CONSTRAINT a_ref_names_both CHECK ((run IS NULL) = (seq IS NULL))
) STRICT;

CREATE UNIQUE INDEX report_once ON report (
    message_id, coalesce(status, ''), coalesce(provider_status, ''), coalesce(run, -1), coalesce(seq, -1)
);
CREATE INDEX report_waiting ON report (run, seq) WHERE run IS NOT NULL;
"""

# `commits.n` counts the transactions ever made here: `sender.state.sqlite.file.CommitMark` compares it. `resent`
# counts how often a person had the message put back to pending though it may have been accepted.
_VERSION_3 = """
CREATE TABLE commits (n INTEGER NOT NULL) STRICT;
INSERT INTO commits (n) VALUES (0);
ALTER TABLE message ADD COLUMN resent INTEGER NOT NULL DEFAULT 0 CHECK (resent BETWEEN 0 AND fence);
"""

# The number a message was really sent from, where it is not the planned one (that was taken out of its pool).
_VERSION_4 = """
ALTER TABLE message ADD COLUMN sender TEXT CHECK (sender <> '');
"""

# The run whose messages a run sends again.
_VERSION_5 = """
ALTER TABLE run ADD COLUMN retry_of TEXT;
"""

# `canceled`: what we decided not to send after planning; it may never have been claimed. `close_reason` is the reason
# of what is canceled when the run is closed. The address of the provider's API, who closed the run, who paused it.
# `taken_over`: a retry sends this unknown message, so its own run never does. `canary` is a
# `sender.core.canary.Canary` as JSON.
#
# The new constraints of `message` allow all that the old ones did, so no row has to be looked at, and the text of the
# table's definition can be edited in place (https://www.sqlite.org/lang_altertable.html, "Making Other Kinds Of Table
# Schema Changes", read 2026-11-28): ten million rows are upgraded at once. ALTER TABLE then makes every connection read
# the definitions anew.
_VERSION_6 = """
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(replace(sql,
    'rejected'', ''unknown', 'rejected'', ''canceled'', ''unknown'),
    'rejected_says_why CHECK (state <> ''rejected'' OR reason IS NOT NULL)',
    'refused_says_why CHECK (state NOT IN (''rejected'', ''canceled'') OR reason IS NOT NULL)'),
    'only_pending_may_have_no_attempt CHECK (attempts >= (state <> ''pending''))',
    'only_unsent_may_have_no_attempt CHECK (attempts >= (state NOT IN (''pending'', ''canceled'')))')
WHERE type = 'table' AND name = 'message';
PRAGMA writable_schema = RESET;
ALTER TABLE message ADD COLUMN taken_over INTEGER NOT NULL DEFAULT 0 CHECK (taken_over IN (0, 1));
ALTER TABLE run ADD COLUMN base_url TEXT;
ALTER TABLE run ADD COLUMN closed_at INTEGER;
ALTER TABLE run ADD COLUMN closed_by TEXT CHECK ((closed_by IS NULL) = (closed_at IS NULL));
ALTER TABLE run ADD COLUMN close_reason TEXT CHECK ((close_reason IS NULL) = (closed_at IS NULL));
ALTER TABLE run ADD COLUMN paused_at INTEGER CHECK (paused_at IS NULL OR closed_at IS NULL);
ALTER TABLE run ADD COLUMN paused_by TEXT CHECK ((paused_by IS NULL) = (paused_at IS NULL));
ALTER TABLE run ADD COLUMN canary TEXT CHECK (json_valid(canary));
"""

# How the requests of a session are written: what is needed, besides plan and row, to write one again byte for byte.
# A message has one only where the provider makes one message of repeated requests.
_VERSION_7 = """
CREATE TABLE request_format (
    key INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run (key),
    callback TEXT,
    serialiser TEXT NOT NULL,
    credentials TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX request_format_once ON request_format (run, serialiser, credentials, coalesce(callback, ''));
ALTER TABLE message ADD COLUMN request_format INTEGER REFERENCES request_format (key);
"""

# What the provider knows of a recipient's number (Telnyx), and whether it replaced characters of the text.
_VERSION_8 = """
ALTER TABLE message ADD COLUMN line_type TEXT;
ALTER TABLE message ADD COLUMN carrier TEXT;
ALTER TABLE message ADD COLUMN smart_encoded INTEGER CHECK (smart_encoded IN (0, 1));
ALTER TABLE report ADD COLUMN line_type TEXT;
ALTER TABLE report ADD COLUMN carrier TEXT;
ALTER TABLE report ADD COLUMN smart_encoded INTEGER CHECK (smart_encoded IN (0, 1));
"""

# What each run's messages add up to, kept by every transaction that changes them (`sender.state.sqlite.tallies`), and
# what happened in each second. Built once from the rows, by one upsert a row: SQLite would sort them for a GROUP BY.
# When a message was last claimed is all that is known of the claims of old runs.
_VERSION_9 = """
CREATE TABLE tally (
    run INTEGER NOT NULL REFERENCES run (key),
    state TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    error_code TEXT NOT NULL,
    currency TEXT NOT NULL,
    price TEXT NOT NULL,
    messages INTEGER NOT NULL,
    reported INTEGER NOT NULL,
    segments INTEGER NOT NULL,
    example INTEGER,
    PRIMARY KEY (run, state, status, reason, error_code, currency, price)
) WITHOUT ROWID, STRICT;
CREATE TABLE pace (
    run INTEGER NOT NULL REFERENCES run (key),
    at INTEGER NOT NULL,
    claimed INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (run, at)
) WITHOUT ROWID, STRICT;
ALTER TABLE run ADD COLUMN resent INTEGER NOT NULL DEFAULT 0;
UPDATE run SET resent = (SELECT count(*) FROM message WHERE run = run.key AND resent > 0);
INSERT INTO tally (run, state, status, reason, error_code, currency, price, messages, reported, segments, example)
SELECT run, state, coalesce(status, ''), iif(state = 'intent', '', coalesce(reason, '')),
    iif(state = 'intent', '', coalesce(error_code, '')), coalesce(currency, ''), coalesce(price, ''),
    1, segments IS NOT NULL, coalesce(segments, 0), seq
FROM message WHERE state <> 'pending' OR reason IS NOT NULL OR error_code IS NOT NULL
ON CONFLICT DO UPDATE SET messages = messages + 1, reported = reported + excluded.reported,
    segments = segments + excluded.segments;
INSERT INTO pace (run, at, claimed, delivered, failed)
SELECT run, intent_at / 1000, 1, 0, 0 FROM message WHERE attempts > 0
ON CONFLICT DO UPDATE SET claimed = claimed + 1;
INSERT INTO pace (run, at, claimed, delivered, failed)
SELECT run, final_at / 1000, 0, status = 'delivered', status <> 'delivered' FROM message
WHERE final_at IS NOT NULL AND status IN ('delivered', 'undelivered', 'failed')
ON CONFLICT DO UPDATE SET delivered = delivered + excluded.delivered, failed = failed + excluded.failed;
"""

# Where each of a run's routes leads, if it has several. `message.route` is the place of the one that has the message,
# `earlier` how many attempts were on others, and `refused_by` has a bit for each that has refused it for good. `move`
# keeps the last attempt on each route that the message has left, with what its provider proved.
_VERSION_10 = """
CREATE TABLE route (
    run INTEGER NOT NULL REFERENCES run (key),
    route INTEGER NOT NULL CHECK (route >= 0),
    provider TEXT NOT NULL,
    account TEXT,
    base_url TEXT,
    PRIMARY KEY (run, route)
) WITHOUT ROWID, STRICT;
CREATE TABLE move (
    run INTEGER NOT NULL REFERENCES run (key),
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt > 0),
    route INTEGER NOT NULL,
    sender TEXT,
    outcome TEXT NOT NULL CHECK (outcome IN ('rejected', 'deferred')),
    reason TEXT,
    error_code TEXT,
    error_message TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (run, seq, attempt)
) WITHOUT ROWID, STRICT;
ALTER TABLE message ADD COLUMN route INTEGER NOT NULL DEFAULT 0 CHECK (route >= 0);
ALTER TABLE message ADD COLUMN earlier INTEGER NOT NULL DEFAULT 0 CHECK (earlier >= 0);
ALTER TABLE message ADD COLUMN refused_by INTEGER NOT NULL DEFAULT 0 CHECK (refused_by >= 0);
"""

# A script each, of any number of statements, run with foreign keys off and checked afterwards; all that are missing run
# in one transaction, so a file is never between two versions. The guard of `SqliteLedger` stops a program of an older
# version that still has the file open. To tighten a CHECK constraint: make a new table, copy, drop,
# rename; to loosen one: edit the text of the table, as in version 6.
STEPS: tuple[str, ...] = (
    _VERSION_1,
    _VERSION_2,
    _VERSION_3,
    _VERSION_4,
    _VERSION_5,
    _VERSION_6,
    _VERSION_7,
    _VERSION_8,
    _VERSION_9,
    _VERSION_10,
)

SCHEMA_VERSION = len(STEPS)  # kept in the file's user_version
