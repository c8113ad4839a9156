"""The fourth step of the schema: the tables of kept totals. A released step is never edited."""

from __future__ import annotations

# What each run's messages add up to, kept by every transaction that changes them (`sender.state.postgres.tallies`), and
# what happened in each second. Built once from the rows, while nobody changes any: whoever does waits for the lock of a
# cursor, and is refused afterwards if its program is older. `settle_messages` says what it has changed.
TALLY_TABLES = """
LOCK TABLE run_cursor IN EXCLUSIVE MODE;

CREATE TABLE tally (
    run bigint NOT NULL REFERENCES run (key),
    state text NOT NULL,
    status text NOT NULL,
    reason text NOT NULL,
    error_code text NOT NULL,
    currency text NOT NULL,
    price text NOT NULL,
    messages bigint NOT NULL,
    reported bigint NOT NULL,
    segments bigint NOT NULL,
    example bigint,
    PRIMARY KEY (run, state, status, reason, error_code, currency, price)
) WITH (fillfactor = 10);

CREATE TABLE pace (
    run bigint NOT NULL REFERENCES run (key),
    at bigint NOT NULL,
    claimed bigint NOT NULL,
    delivered bigint NOT NULL,
    failed bigint NOT NULL,
    PRIMARY KEY (run, at)
) WITH (fillfactor = 60);

ALTER TABLE run ADD COLUMN resent bigint NOT NULL DEFAULT 0;
UPDATE run SET resent = (SELECT count(*) FROM message WHERE run = run.key AND resent > 0);

INSERT INTO tally
SELECT run, state, coalesce(status, ''), CASE WHEN state = 'intent' THEN '' ELSE coalesce(reason, '') END,
    CASE WHEN state = 'intent' THEN '' ELSE coalesce(error_code, '') END, coalesce(currency, ''), coalesce(price, ''),
    count(*), count(segments), coalesce(sum(segments), 0), max(seq)
FROM message WHERE state <> 'pending' OR reason IS NOT NULL OR error_code IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7;

INSERT INTO pace
SELECT run, at, sum(claimed), sum(delivered), sum(failed) FROM (
    SELECT run, intent_at / 1000 AS at, 1 AS claimed, 0 AS delivered, 0 AS failed FROM message WHERE attempts > 0
    UNION ALL
    SELECT run, final_at / 1000, 0, (status = 'delivered')::integer, (status <> 'delivered')::integer FROM message
    WHERE final_at IS NOT NULL AND status IN ('delivered', 'undelivered', 'failed')
) AS happened GROUP BY run, at;

DROP FUNCTION settle_messages;
CREATE FUNCTION settle_messages(
    the_run bigint, seqs bigint[], the_attempts integer[], fences integer[], message_ids text[], the_segments bigint[],
    created bigint[], line_types text[], carriers text[], the_state text, due bigint, the_status text,
    the_provider_status text, the_reason text, code text, sentence text, the_price text, the_currency text,
    sent bigint, final bigint, smart boolean, now_ms bigint, uncounted integer,
    OUT changed bigint, OUT reported bigint, OUT reported_segments bigint
) LANGUAGE plpgsql AS $$
DECLARE
    theirs bigint;
BEGIN
    changed := 0;
    reported := 0;
    reported_segments := 0;
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
END $$;
"""
