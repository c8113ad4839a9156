"""The state of one machine in SQLite: ledger, delivery reports and suppression list, with real fsync."""
