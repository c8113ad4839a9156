"""Steps of the schema: one intent for a whole range of messages. A released step is never edited."""

from __future__ import annotations

# Messages that are claimed for the first time get one row together, in `intent_range`; each gets its row in `message`
# with its outcome, and `without_row` of the range's have none yet. Until then such a message is an intent: attempt 1,
# fence 1. `every_message` has all of them. Ranges of a run never overlap, because whoever claims moves its frontier.
#
# - `begin_change` locks a run and says what a change has to know; the clock is read afterwards.
# - `claim_range` claims the next messages, and notes what its caller has claimed (`claim_note`: the range, and others).
# - `enter_intents` gives messages of ranges their rows, for whatever else happens to them than an outcome: those of
#   `seqs`, or all of those whose deadline was before a time.
# - `settle_messages` writes outcomes: rows of ranges by one INSERT, others one by one through the primary key. Each
#   looks its range up in the index: `enable_seqscan` is off, as the planner cannot know how many there are; and so each
#   looks for its row, which `OFFSET 0` keeps from becoming a join with the whole run. Nothing is joined with what the
#   INSERT returns: the planner takes that for one row, and compares each with each.
RANGE_TABLES = """
LOCK TABLE run_cursor IN EXCLUSIVE MODE;

CREATE TABLE intent_range (
    run bigint NOT NULL,
    start bigint NOT NULL CHECK (start >= 0),
    stop bigint NOT NULL,
    intent_at bigint NOT NULL,
    deadline bigint NOT NULL,
    request_format bigint,
    without_row bigint NOT NULL,
    PRIMARY KEY (run, start),
    CONSTRAINT some_wait CHECK (without_row BETWEEN 0 AND stop - start AND start < stop)
) WITH (fillfactor = 50);

ALTER TABLE claim_note ADD COLUMN start bigint NOT NULL DEFAULT 0, ADD COLUMN stop bigint NOT NULL DEFAULT 0,
    ADD COLUMN deadline bigint NOT NULL DEFAULT 0;

CREATE VIEW every_message AS
SELECT run, seq, state, attempts, fence, intent_at, deadline, not_before, message_id, status, provider_status, reason,
    error_code, error_message, segments, price, currency, created_at, sent_at, updated_at, final_at, resent, sender,
    taken_over, request_format, line_type, carrier, smart_encoded
FROM message
UNION ALL
SELECT its.run, one.seq, 'intent', 1, 1, its.intent_at, its.deadline, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, its.intent_at, NULL, 0, NULL,
    false, its.request_format, NULL, NULL, NULL
FROM intent_range AS its CROSS JOIN generate_series(its.start, its.stop - 1) AS one (seq)
WHERE NOT EXISTS (SELECT FROM message WHERE message.run = its.run AND message.seq = one.seq OFFSET 0);

CREATE FUNCTION begin_change(
    the_run bigint, OUT next_seq bigint, OUT version integer, OUT now_ms bigint, OUT commits bigint,
    OUT is_held boolean, OUT close_reason text, OUT is_odd boolean, OUT has_reports boolean, OUT first_due bigint,
    OUT holder uuid
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    SELECT its.next_seq, its.commits INTO next_seq, commits FROM run_cursor AS its WHERE its.run = the_run FOR UPDATE;
    SELECT its.version INTO version FROM state AS its;
    SELECT its.closed_at IS NOT NULL OR its.paused_at IS NOT NULL, its.close_reason,
        its.resent > 0 OR EXISTS (
            SELECT FROM tally WHERE tally.run = the_run AND tally.state = 'unknown' AND tally.messages > 0
        ),
        EXISTS (SELECT FROM report WHERE report.run = the_run),
        (SELECT not_before FROM message WHERE message.run = the_run AND not_before IS NOT NULL
            ORDER BY not_before LIMIT 1),
        (SELECT token FROM holder AS whose WHERE whose.name = its.kind || '-' || its.campaign)
    INTO is_held, close_reason, is_odd, has_reports, first_due, holder FROM run AS its WHERE its.key = the_run;
    now_ms := floor(extract(epoch FROM clock_timestamp()) * 1000);
END $$;

CREATE FUNCTION claim_range(
    the_run bigint, first bigint, below bigint, now_ms bigint, until bigint, format bigint,
    the_handle uuid, the_number bigint, others bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF first < below THEN
        INSERT INTO intent_range (run, start, stop, intent_at, deadline, request_format, without_row)
        VALUES (the_run, first, below, now_ms, until, format, below - first);
        INSERT INTO tally (run, state, status, reason, error_code, currency, price, messages, reported, segments)
        VALUES (the_run, 'intent', '', '', '', '', '', below - first, 0, 0)
        ON CONFLICT (run, state, status, reason, error_code, currency, price)
        DO UPDATE SET messages = tally.messages + excluded.messages;
        INSERT INTO pace (run, at, claimed, delivered, failed) VALUES (the_run, now_ms / 1000, below - first, 0, 0)
        ON CONFLICT (run, at) DO UPDATE SET claimed = pace.claimed + excluded.claimed;
    END IF;
    UPDATE run_cursor SET next_seq = greatest(next_seq, below), commits = commits + 1 WHERE run = the_run;
    INSERT INTO claim_note (handle, number, at, claims, start, stop, deadline)
    VALUES (the_handle, the_number, now_ms, others, first, below, until)
    ON CONFLICT (handle) DO UPDATE SET number = excluded.number, at = excluded.at, claims = excluded.claims,
        start = excluded.start, stop = excluded.stop, deadline = excluded.deadline;
END $$;

CREATE FUNCTION enter_intents(the_run bigint, seqs bigint[], before bigint)
RETURNS void LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    WITH given AS MATERIALIZED (
        SELECT its.start, one.seq, its.intent_at, its.deadline, its.request_format
        FROM intent_range AS its CROSS JOIN LATERAL (
            SELECT seq FROM generate_series(its.start, its.stop - 1) AS seq WHERE seqs IS NULL
            UNION
            SELECT seq FROM unnest(seqs) AS seq WHERE seq >= its.start AND seq < its.stop
        ) AS one (seq)
        WHERE its.run = the_run AND (before IS NULL OR its.deadline < before)
            AND NOT EXISTS (SELECT FROM message WHERE message.run = the_run AND message.seq = one.seq OFFSET 0)
    ), entered AS (
        INSERT INTO message (run, seq, state, attempts, fence, intent_at, deadline, request_format, updated_at)
        SELECT the_run, seq, 'intent', 1, 1, intent_at, deadline, request_format, intent_at FROM given
    )
    UPDATE intent_range AS its SET without_row = greatest(0, its.without_row - done.n)
    FROM (SELECT start, count(*) AS n FROM given GROUP BY start) AS done
    WHERE its.run = the_run AND its.start = done.start;
    DELETE FROM intent_range WHERE run = the_run
        AND (without_row = 0 OR (seqs IS NULL AND (before IS NULL OR deadline < before)));
END $$;

DROP FUNCTION settle_messages;
CREATE FUNCTION settle_messages(
    the_run bigint, seqs bigint[], the_attempts integer[], fences integer[], message_ids text[], the_segments bigint[],
    created bigint[], line_types text[], carriers text[], the_state text, due bigint, the_status text,
    the_provider_status text, the_reason text, code text, sentence text, the_price text, the_currency text,
    sent bigint, final bigint, smart boolean, now_ms bigint, uncounted integer, is_counted boolean,
    OUT changed bigint, OUT reported bigint, OUT reported_segments bigint
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    is_over boolean;
    theirs bigint;
BEGIN
    WITH given AS MATERIALIZED (
        SELECT one.*, its.start, its.intent_at, its.request_format
        FROM unnest(seqs, the_attempts, fences, message_ids, the_segments, created, line_types, carriers)
            AS one (seq, attempt, fence, message_id, segments, created_at, line_type, carrier)
        CROSS JOIN LATERAL (
            SELECT start, stop, intent_at, request_format FROM intent_range
            WHERE run = the_run AND start <= one.seq ORDER BY start DESC LIMIT 1
        ) AS its
        WHERE one.seq < its.stop AND one.attempt = 1 AND one.fence = 1
            AND NOT EXISTS (SELECT FROM message WHERE message.run = the_run AND message.seq = one.seq OFFSET 0)
    ), entered AS (
        INSERT INTO message (run, seq, state, attempts, fence, intent_at, not_before, message_id, status,
            provider_status, reason, error_code, error_message, segments, price, currency, created_at, sent_at,
            updated_at, final_at, request_format, line_type, carrier, smart_encoded)
        SELECT the_run, given.seq, the_state, 1 - uncounted, 1, given.intent_at, due, given.message_id, the_status,
            the_provider_status, the_reason, code, sentence, given.segments, the_price, the_currency,
            given.created_at, sent, now_ms, final, given.request_format, given.line_type, given.carrier, smart
        FROM given
    ), counted AS (
        UPDATE intent_range AS its SET without_row = greatest(0, its.without_row - done.n)
        FROM (SELECT start, count(*) AS n FROM given GROUP BY start) AS done
        WHERE its.run = the_run AND its.start = done.start RETURNING its.without_row
    )
    SELECT count(*), count(segments), coalesce(sum(segments), 0), EXISTS (SELECT FROM counted WHERE without_row = 0)
    INTO changed, reported, reported_segments, is_over FROM given;
    IF is_over THEN
        DELETE FROM intent_range WHERE run = the_run AND without_row = 0;
    END IF;
    IF changed < coalesce(array_length(seqs, 1), 0) THEN
        FOR i IN 1 .. array_length(seqs, 1) LOOP
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
                AND (state = 'intent' OR (state = 'unknown' AND the_state IN ('accepted', 'rejected')))
            RETURNING segments INTO theirs;
            IF FOUND THEN
                changed := changed + 1;
                IF theirs IS NOT NULL THEN
                    reported := reported + 1;
                    reported_segments := reported_segments + theirs;
                END IF;
            END IF;
        END LOOP;
    END IF;
    IF is_counted AND changed > 0 THEN
        INSERT INTO tally (run, state, status, reason, error_code, currency, price, messages, reported, segments,
            example)
        SELECT the_run, * FROM (VALUES
            ('intent', '', '', '', '', '', -changed, 0, 0, NULL),
            (the_state, coalesce(the_status, ''), coalesce(the_reason, ''), coalesce(code, ''),
                coalesce(the_currency, ''), coalesce(the_price, ''), changed, reported, reported_segments,
                seqs[array_length(seqs, 1)])
        ) AS one (state, status, reason, code, currency, price, messages, reported, segments, example)
        WHERE one.state <> 'pending' OR one.reason <> '' OR one.code <> ''
        ON CONFLICT (run, state, status, reason, error_code, currency, price) DO UPDATE SET
            messages = tally.messages + excluded.messages, reported = tally.reported + excluded.reported,
            segments = tally.segments + excluded.segments, example = coalesce(excluded.example, tally.example);
    END IF;
END $$;
"""

# Planning it anew for each group, for arrays of that length, takes as long as writing fifty rows; the plan is the same.
GENERIC_PLAN = "ALTER FUNCTION settle_messages SET plan_cache_mode = force_generic_plan"

# A message's range is the last one that starts at or before it: one entry of the index, if it is read backwards. Once
# the table is analyzed, with few ranges left, the planner reads all that start before it by a bitmap, also those that
# are gone until the next vacuum, and sorts them: 180 entries a message in a run of a million.
INDEXED_LOOKUP = """
ALTER FUNCTION settle_messages SET enable_bitmapscan = off SET enable_sort = off;
ALTER FUNCTION enter_intents SET enable_bitmapscan = off;
"""
