"""What measures learning."""
