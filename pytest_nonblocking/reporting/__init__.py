"""Results to words and files."""
