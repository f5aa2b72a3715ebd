from chassis.migrations import run_env
from toy.models import Base

run_env(Base.metadata)
