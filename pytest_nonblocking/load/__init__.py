"""What is run: a test alone and in closed bursts, on which schedule, on how fast a machine."""
