"""What a whole run comes to: known failures, comparisons, exit status, and the command line."""
