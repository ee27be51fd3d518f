"""Run the command line as `python -m gwaudit`."""

from gwaudit.cli.app import main

if __name__ == "__main__":
    main()
