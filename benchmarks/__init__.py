"""What the library is measured by: see README.md here, or `python -m benchmarks --help`."""
