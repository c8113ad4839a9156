"""From a plan to outcomes on disk: runs, their pace, the send loop, and several processes of it."""
