-- A ledger as version 1 of the schema wrote it: two runs, and a message in each state. Never edited.
PRAGMA page_size=4096;

BEGIN TRANSACTION;

-- Table  message
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
INSERT INTO message VALUES(1,0,'accepted',1,1,1767268800007,NULL,NULL,'SM00','sent','sent',NULL,NULL,NULL,1,'-0.00790','USD',1767268800000,NULL,1767268800014);
INSERT INTO message VALUES(1,1,'rejected',1,1,1767268800007,NULL,NULL,NULL,NULL,NULL,'opted_out','21610','Attempt to send to unsubscribed recipient',NULL,NULL,NULL,NULL,NULL,1767268800014);
INSERT INTO message VALUES(1,2,'unknown',1,1,1767268800007,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'no whole answer in time (ReadTimeout); it may have been sent',NULL,NULL,NULL,NULL,NULL,1767268800014);
INSERT INTO message VALUES(1,3,'pending',1,1,1767268800007,NULL,1767268860000,NULL,NULL,NULL,'rate_limited','20429','Too Many Requests',NULL,NULL,NULL,NULL,NULL,1767268800014);
INSERT INTO message VALUES(1,4,'pending',0,1,1767268800007,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1767268800021);
INSERT INTO message VALUES(1,5,'intent',1,1,1767268800007,1767268830007,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1767268800007);
INSERT INTO message VALUES(2,0,'accepted',1,1,1767268800028,NULL,NULL,'SB00','queued',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1767268800035);
-- Triggers and indices on  message
CREATE INDEX message_waiting ON message (run, not_before, seq) WHERE state = 'pending';

-- Table  run
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
INSERT INTO run VALUES(1,'20260101-120000-aaaaaaaa','welcome','live','twilio','9f86d081',NULL,8,7,1,1767268800000,NULL,0,'AC00000000000000000000000000000000');
INSERT INTO run VALUES(2,'20260101-130000-bbbbbbbb','offer','sandbox','sandbox','d081','campaigns/offer.yaml',1,1,0,1767272400000,1767268800042,1,NULL);

-- Database header
pragma user_version=1;
pragma application_id=1668116595;

COMMIT TRANSACTION;

