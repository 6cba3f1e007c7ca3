"""What every room uses: numbers, keys, dtypes and checks, each in one file."""
