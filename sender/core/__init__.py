"""Words and tools that everything may use: errors, outcomes, clocks, money, durable files. Imports nothing of ours."""
