"""Real servers for development and tests, started without Docker. Knows nothing of Haat's own packages."""
