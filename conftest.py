"""What every run of pytest loads, of tests or of a single notebook."""

pytest_plugins = ["comparer"]  # tests/comparer.py, found by `pythonpath` in pyproject.toml
