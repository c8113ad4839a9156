"""Values and tools for every package: errors, outcomes, clocks, money, durable files. Imports nothing of `sender`."""
