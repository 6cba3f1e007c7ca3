"""The engine: it runs a step over a sequence, and differentiates that. README.md has its words."""
