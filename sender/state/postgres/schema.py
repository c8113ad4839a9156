"""What the tables of a state in PostgreSQL look like, and how a schema of an older version becomes one of this version.

`STEPS[n]` makes version n + 1 of version n; the first makes a state in an empty schema. To change the schema, append a
step. A released step is never edited: databases that it made exist.
"""

from __future__ import annotations

from sender.state.postgres.range_tables import GENERIC_PLAN, INDEXED_LOOKUP, RANGE_TABLES
from sender.state.postgres.server_identity import SERVER_COLUMNS
from sender.state.postgres.store_tables import APPROVAL_TABLES, REPLY_TABLE
from sender.state.postgres.tally_tables import TALLY_TABLES

# The tables are those of `sender.state.sqlite.schema`, with the same rules as CHECK constraints. What differs:
#
# - `run_cursor` has a row a run. Whoever changes messages of a run holds its lock, so that changes of one run happen
#   one after another, as in SQLite; `next_seq` is the first `seq` without a row, `commits` counts the claims.
# - Only a pending message has a `not_before`, and the index is over that column alone: an update from intent to
#   accepted changes no column of an index, and so makes no new entry in any (a HOT update, if the page has room).
# - `message` has no foreign key: checking one for each row of a group costs more than the row.
# - `claim_note` keeps the last claim of each handle, so that a claim whose answer was lost is looked up, never made
#   again.
# - `run_file` has the files of runs' folders in parts of 1 MiB, compressed already; a folder's `version` is another one
#   after each change.
# - `settle_messages` writes the outcomes of a group row by row through the primary key. An UPDATE joined with `unnest`
#   reads the whole run for each group: the planner does not know how few rows an array has.
# - `intent_range` has one intent for all messages that are claimed together for the first time; see `range_tables`.
_VERSION_1 = """
CREATE TABLE state (
    sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    version integer NOT NULL,
    people_key bytea CHECK (octet_length(people_key) = 32)
);
INSERT INTO state (version) VALUES (1);

CREATE TABLE run (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL UNIQUE,
    campaign text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('live', 'sandbox', 'rehearsal', 'test')),
    provider text NOT NULL,
    plan_hash text NOT NULL,
    source text,
    rows bigint NOT NULL,
    messages bigint NOT NULL CHECK (messages >= 0),
    skipped bigint NOT NULL CHECK (skipped >= 0),
    created_at bigint NOT NULL,
    finished_at bigint,
    simulated boolean NOT NULL,
    account text,
    retry_of text,
    base_url text,
    closed_at bigint,
    closed_by text,
    close_reason text,
    paused_at bigint,
    paused_by text,
    canary text,
    CONSTRAINT rows_add_up CHECK (rows = messages + skipped),
    CONSTRAINT closing_says_who CHECK ((closed_by IS NULL) = (closed_at IS NULL)),
    CONSTRAINT closing_says_why CHECK ((close_reason IS NULL) = (closed_at IS NULL)),
    CONSTRAINT what_is_closed_is_not_paused CHECK (paused_at IS NULL OR closed_at IS NULL),
    CONSTRAINT pausing_says_who CHECK ((paused_by IS NULL) = (paused_at IS NULL))
);

CREATE TABLE run_cursor (
    run bigint PRIMARY KEY REFERENCES run (key),
    next_seq bigint NOT NULL DEFAULT 0,
    commits bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

CREATE TABLE request_format (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL REFERENCES run (key),
    callback text,
    serialiser text NOT NULL,
    credentials text NOT NULL
);
CREATE UNIQUE INDEX request_format_once ON request_format (run, serialiser, credentials, coalesce(callback, ''));

CREATE TABLE message (
    run bigint NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 0),
    state text NOT NULL CHECK (state IN ('pending', 'intent', 'accepted', 'rejected', 'canceled', 'unknown')),
    attempts integer NOT NULL,
    fence integer NOT NULL,
    intent_at bigint NOT NULL,
    deadline bigint,
    not_before bigint,
    message_id text COLLATE "C",
    status text,
    provider_status text,
    reason text,
    error_code text,
    error_message text,
    segments bigint,
    price text,
    currency text,
    created_at bigint,
    sent_at bigint,
    updated_at bigint NOT NULL,
    final_at bigint,
    resent integer NOT NULL DEFAULT 0 CHECK (resent BETWEEN 0 AND fence),
    sender text CHECK (sender <> ''),
    taken_over boolean NOT NULL DEFAULT false,
    request_format bigint,
    line_type text,
    carrier text,
    smart_encoded boolean,
    PRIMARY KEY (run, seq),
    CONSTRAINT only_an_intent_has_a_deadline CHECK ((state = 'intent') = (deadline IS NOT NULL)),
    CONSTRAINT only_pending_waits CHECK ((state = 'pending') = (not_before IS NOT NULL)),
    CONSTRAINT only_accepted_has_an_id CHECK ((state = 'accepted') = (message_id IS NOT NULL)),
    CONSTRAINT only_accepted_has_a_status CHECK ((state = 'accepted') = (status IS NOT NULL)),
    CONSTRAINT refused_says_why CHECK (state NOT IN ('rejected', 'canceled') OR reason IS NOT NULL),
    CONSTRAINT only_unsent_may_have_no_attempt CHECK (attempts >= 1 OR state IN ('pending', 'canceled')),
    CONSTRAINT attempts_were_claimed CHECK (attempts BETWEEN 0 AND fence)
) WITH (fillfactor = 60);
CREATE INDEX message_waiting ON message (run, not_before, seq) WHERE not_before IS NOT NULL;

CREATE TABLE report (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run bigint REFERENCES run (key),
    seq bigint,
    message_id text COLLATE "C" NOT NULL,
    status text,
    provider_status text,
    reason text,
    error_code text,
    error_message text,
    segments bigint,
    price text,
    currency text,
    sent_at bigint,
    reported_at bigint,
    received_at bigint NOT NULL,
    line_type text,
    carrier text,
    smart_encoded boolean,
    CONSTRAINT a_ref_names_both CHECK ((run IS NULL) = (seq IS NULL))
);
CREATE UNIQUE INDEX report_once ON report (
    message_id, coalesce(status, ''), coalesce(provider_status, ''), coalesce(run, -1), coalesce(seq, -1)
);
CREATE INDEX report_waiting ON report (run, seq) WHERE run IS NOT NULL;

CREATE TABLE claim_note (
    handle uuid PRIMARY KEY,
    number bigint NOT NULL,
    at bigint NOT NULL,
    claims bigint[] NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE holder (
    name text COLLATE "C" PRIMARY KEY,
    token uuid NOT NULL,
    pid bigint NOT NULL,
    host text NOT NULL,
    machine text,
    process_at double precision,
    since text NOT NULL,
    longest_request_s double precision
);

CREATE TABLE suppression_list (
    sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    change bigint NOT NULL DEFAULT 0
);
INSERT INTO suppression_list DEFAULT VALUES;

CREATE TABLE entry (
    number text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL
        CHECK (reason IN ('opted_out', 'suppressed', 'under_review', 'invalid_number', 'landline')),
    source text COLLATE "C" NOT NULL
        CHECK (source IN ('person', 'file', 'reply', 'provider_error', 'provider_list')),
    via text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    note text,
    change bigint NOT NULL,
    PRIMARY KEY (number, scope, reason, source, via)
);
CREATE INDEX entry_change ON entry (change);
CREATE INDEX entry_review ON entry (number) WHERE reason = 'under_review';

CREATE TABLE lift (
    number text COLLATE "C" NOT NULL,
    by text COLLATE "C" NOT NULL CHECK (by IN ('start', 'person', 'review')),
    scope text COLLATE "C" NOT NULL,
    via text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    change bigint NOT NULL,
    PRIMARY KEY (number, by, scope, via)
);
CREATE INDEX lift_change ON lift (change);

CREATE TABLE heard (
    number text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (number, message_id)
);

CREATE TABLE run_folder (
    run_id text COLLATE "C" PRIMARY KEY,
    version uuid NOT NULL
);

CREATE TABLE run_file (
    run_id text COLLATE "C" NOT NULL REFERENCES run_folder (run_id),
    name text COLLATE "C" NOT NULL,
    part integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (run_id, name, part)
);
ALTER TABLE run_file ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE progress (
    run_id text COLLATE "C" PRIMARY KEY,
    at bigint NOT NULL,
    eta_s double precision,
    slowed_to_per_s double precision
);

CREATE TABLE tick (
    campaign text COLLATE "C" PRIMARY KEY,
    record text NOT NULL
);

CREATE FUNCTION open_run(the_run bigint, OUT next_seq bigint, OUT version integer, OUT now_ms bigint)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT run_cursor.next_seq INTO next_seq FROM run_cursor WHERE run = the_run FOR UPDATE;
    SELECT state.version INTO version FROM state;
    now_ms := floor(extract(epoch FROM clock_timestamp()) * 1000);
END $$;

CREATE FUNCTION settle_messages(
    the_run bigint, seqs bigint[], the_attempts integer[], fences integer[], message_ids text[], the_segments bigint[],
    created bigint[], line_types text[], carriers text[], the_state text, due bigint, the_status text,
    the_provider_status text, the_reason text, code text, sentence text, the_price text, the_currency text,
    sent bigint, final bigint, smart boolean, now_ms bigint, uncounted integer
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    changed bigint := 0;
    one bigint;
BEGIN
    FOR i IN 1 .. coalesce(array_length(seqs, 1), 0) LOOP
        UPDATE message SET
            state = CASE WHEN the_state = 'canceled' AND resent > 0 THEN 'unknown' ELSE the_state END,
            reason = CASE WHEN the_state = 'canceled' AND resent > 0 THEN NULL ELSE the_reason END,
            error_message = CASE WHEN the_state = 'canceled' AND resent > 0
                THEN 'still in doubt; this time: ' || sentence ELSE sentence END,
            not_before = due, message_id = message_ids[i], status = the_status,
            provider_status = the_provider_status, error_code = code, segments = the_segments[i],
            price = the_price, currency = the_currency, created_at = created[i], sent_at = sent, final_at = final,
            line_type = line_types[i], carrier = carriers[i], smart_encoded = smart,
            deadline = NULL, updated_at = now_ms, attempts = attempts - uncounted
        WHERE run = the_run AND seq = seqs[i] AND attempts = the_attempts[i] AND fence = fences[i]
            AND (state = 'intent' OR (state = 'unknown' AND the_state IN ('accepted', 'rejected')));
        GET DIAGNOSTICS one = ROW_COUNT;
        changed := changed + one;
    END LOOP;
    RETURN changed;
END $$;
"""

# What lookups, and answers in passing, have said of numbers.
_VERSION_2 = """
CREATE TABLE number_fact (
    number text COLLATE "C" NOT NULL,
    simulated boolean NOT NULL,
    source text NOT NULL CHECK (source IN ('lookup', 'answer')),
    provider text NOT NULL,
    at bigint NOT NULL,
    line_type text,
    carrier text,
    zone text,
    reassigned text CHECK (reassigned IN ('yes', 'no', 'unknown')),
    reassigned_since text,
    valid boolean,
    problem text,
    price text,
    currency text,
    PRIMARY KEY (number, simulated)
);
"""

# Several senders of one run. `holder.together` says that its token is theirs, too. `rate` has the state of a run's rate
# limiter, in seconds by this server's clock; `shift_order` what its senders are to do, and how that ended.
_VERSION_3 = """
ALTER TABLE holder ADD COLUMN together boolean NOT NULL DEFAULT false;

CREATE TABLE rate (
    run_id text COLLATE "C" PRIMARY KEY,
    per_s double precision NOT NULL CHECK (per_s >= 0),
    due double precision NOT NULL,
    dues jsonb NOT NULL DEFAULT '{}',
    queue_due double precision NOT NULL DEFAULT '-Infinity',
    paused_until double precision NOT NULL DEFAULT '-Infinity',
    share double precision NOT NULL DEFAULT 1 CHECK (share > 0),
    share_at double precision NOT NULL DEFAULT '-Infinity',
    cut_at double precision NOT NULL DEFAULT '-Infinity'
) WITH (fillfactor = 10);

CREATE TABLE shift_order (
    run_id text COLLATE "C" PRIMARY KEY,
    text text NOT NULL,
    below_seq bigint,
    halted text,
    ended_at bigint
);

CREATE TABLE sender_out (
    run_id text COLLATE "C" NOT NULL,
    number text COLLATE "C" NOT NULL,
    why text NOT NULL,
    PRIMARY KEY (run_id, number)
);

CREATE TABLE worker (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid bigint NOT NULL,
    places integer NOT NULL,
    since bigint NOT NULL,
    seen_at bigint NOT NULL,
    draining boolean NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE shift (
    id uuid PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    since bigint NOT NULL,
    seen_at bigint NOT NULL,
    sent bigint NOT NULL DEFAULT 0,
    in_flight integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

DROP FUNCTION open_run;
CREATE FUNCTION open_run(
    the_run bigint, OUT next_seq bigint, OUT version integer, OUT now_ms bigint, OUT commits bigint
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT run_cursor.next_seq, run_cursor.commits INTO next_seq, commits FROM run_cursor
    WHERE run = the_run FOR UPDATE;
    SELECT state.version INTO version FROM state;
    now_ms := floor(extract(epoch FROM clock_timestamp()) * 1000);
END $$;

CREATE FUNCTION take_slots(
    the_run text, units double precision[], numbers text[], costs double precision[], queue_costs double precision[],
    queue_slack double precision, margin double precision, catch_up double precision, horizon double precision,
    OUT now_s double precision, OUT slots double precision[], OUT state rate
) LANGUAGE plpgsql AS $$
DECLARE
    leaves double precision;
    share double precision;
    earliest double precision;
BEGIN
    SELECT * INTO state FROM rate WHERE run_id = the_run FOR UPDATE;
    now_s := extract(epoch FROM clock_timestamp());
    slots := '{}';
    IF state.run_id IS NULL OR state.paused_until > now_s THEN
        RETURN;
    END IF;
    -- A crash may have forgotten the newest slots: none was further away than that.
    earliest := greatest(now_s - catch_up, extract(epoch FROM pg_postmaster_start_time()) + 0.25);
    share := least(1, state.share + 0.02 * greatest(0, now_s - state.share_at));
    FOR i IN 1 .. coalesce(array_length(units, 1), 0) LOOP
        leaves := greatest(earliest, state.due, (state.dues ->> numbers[i])::double precision);
        IF queue_costs[i] > 0 THEN
            leaves := greatest(leaves, state.queue_due);
        END IF;
        EXIT WHEN leaves > now_s + horizon;
        IF state.per_s > 0 THEN
            state.due := leaves + units[i] * margin / (state.per_s * share);
        END IF;
        IF costs[i] > 0 THEN
            state.dues := jsonb_set(state.dues, ARRAY[numbers[i]], to_jsonb(leaves + costs[i]));
        END IF;
        IF queue_costs[i] > 0 THEN
            state.queue_due := greatest(state.queue_due, leaves - queue_slack) + queue_costs[i];
        END IF;
        slots := slots || leaves;
    END LOOP;
    IF array_length(slots, 1) > 0 THEN
        UPDATE rate SET due = state.due, dues = state.dues, queue_due = state.queue_due WHERE run_id = the_run;
    END IF;
END $$;
"""

STEPS: tuple[str, ...] = (
    _VERSION_1,
    _VERSION_2,
    _VERSION_3,
    TALLY_TABLES,
    REPLY_TABLE,
    APPROVAL_TABLES,
    SERVER_COLUMNS,
    RANGE_TABLES,
    GENERIC_PLAN,
    INDEXED_LOOKUP,
)

SCHEMA_VERSION = len(STEPS)  # kept in the table `state`
