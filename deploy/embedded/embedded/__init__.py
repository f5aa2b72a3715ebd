"""The whole shop in one process, from bare Python: the only code that knows every service."""
