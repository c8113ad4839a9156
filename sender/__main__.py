"""`python -m sender`, and the `sender` command."""

from __future__ import annotations

from sender.cli import main

if __name__ == "__main__":
    main()
