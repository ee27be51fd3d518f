"""Run the command line, as `gwaudit` or as `python -m gwaudit`."""

from gwaudit.cli.interrupts import end_at_once


def main() -> None:
    """Run the command line; Ctrl-C ends it with exit code 130, also while it is imported."""
    end_at_once()
    try:
        from gwaudit.cli.app import main as run

        run()
    finally:
        end_at_once()


if __name__ == "__main__":
    main()
