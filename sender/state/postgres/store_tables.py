"""Steps of the schema for what people answer and approve: released ones are never edited."""

from __future__ import annotations

# `forward` is NULL for a reply that is not forwarded. While one waits, `next_at` is when it is tried again; a claim
# moves it to the end of its lease, so that a process that dies loses nothing.
REPLY_TABLE = """
CREATE TABLE reply (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dialect text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    number text COLLATE "C",
    our_number text COLLATE "C",
    text text,
    media text NOT NULL,
    meaning text CHECK (meaning IN ('stop', 'start', 'review')),
    written_at bigint,
    heard_at bigint NOT NULL,
    simulated boolean NOT NULL,
    kept boolean NOT NULL,
    forward text CHECK (forward IN ('waiting', 'done', 'failed')),
    tries integer NOT NULL,
    next_at bigint NOT NULL,
    UNIQUE (dialect, message_id)
);
CREATE INDEX reply_waiting ON reply (next_at) WHERE forward = 'waiting';
CREATE INDEX reply_number ON reply (number);
CREATE INDEX reply_heard ON reply (heard_at);
"""

# Approvals as JSON: of each text that was signed, and of each run as it began.
APPROVAL_TABLES = """
CREATE TABLE approval (
    key text COLLATE "C" PRIMARY KEY,
    content text NOT NULL
);
CREATE TABLE run_approval (
    run_id text COLLATE "C" PRIMARY KEY,
    content text NOT NULL
);
"""
