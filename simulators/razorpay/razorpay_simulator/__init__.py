"""A stand-in for Razorpay's server, faithful to its documents, for development and tests.

It keeps its ledger in SQLite, signs and retries real webhooks, moves a virtual clock and misbehaves
on request.
"""
