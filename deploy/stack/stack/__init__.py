"""The distributed shop on one machine: every service a process of its own, a real RabbitMQ between them, no Docker.

Services are started by name, as they would be anywhere; no code of theirs is imported.
"""
