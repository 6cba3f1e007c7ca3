"""The engine: what runs a step over a sequence, and what differentiates it."""
