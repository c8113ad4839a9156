"""The parts of a state that are plain files on one machine: locks, plans and heartbeats."""
