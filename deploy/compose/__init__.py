"""What only the form with containers needs."""
