"""The state of one machine, as far as plain files hold it: locks, plans and heartbeats."""
