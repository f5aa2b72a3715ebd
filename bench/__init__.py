"""What a request costs: load programs, and the results they have written."""
