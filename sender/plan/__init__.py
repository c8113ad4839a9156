"""The immutable value between planning and sending: every input row as a message or as skipped with its reason."""
