"""What an operator runs, with `make` or with `python -m`."""
