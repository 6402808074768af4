"""What the operating system tells of threads, processes and the machine."""
