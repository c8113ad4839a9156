"""`python -m sender`, and the `sender` command."""

from __future__ import annotations


def main() -> None:
    """Loads the command and runs it. Ctrl-C while it is being loaded ends it without a word, as it does later."""
    try:
        from sender.cli.entry import main as command  # noqa: PLC0415 (so that it is within the try)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    command()


if __name__ == "__main__":
    main()
