"""What measures time or memory."""
