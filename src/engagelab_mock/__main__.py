"""Run the command line: `python -m engagelab_mock`."""

from engagelab_mock.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
