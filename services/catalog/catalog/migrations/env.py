"""Alembic's entry point; the chassis does the work."""

from catalog.models import Base
from chassis.migrations import run_env

run_env(Base.metadata)
