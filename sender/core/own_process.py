"""Starts another process of this program, and is what that process runs: `python -m sender.core.own_process MODULE`.

Such a process begins in less time than `python -m MODULE` needs, because nobody looks for garbage while it loads.
"""

from __future__ import annotations

import sys

from sender.core.garbage import load_module


def own_process(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that calls `main` of `module` in a process of its own; `sys.argv[1:]` are the arguments.

    The folder that it starts in does not become a place from which modules are loaded.
    """
    return (sys.executable, "-P", "-m", "sender.core.own_process", module, *arguments)


if __name__ == "__main__":
    del sys.argv[0]
    load_module(sys.argv[0]).main()
