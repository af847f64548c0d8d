"""Run `mlkit` as `python -m mlkit`."""

from mlkit.cli.main import main

if __name__ == "__main__":
    main()
