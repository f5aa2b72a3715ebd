"""`python -m payments [serve | migrate | openapi | events …]`."""

from chassis.command_line import main
from payments.app import build
from payments.settings import PaymentsSettings

main(PaymentsSettings, build)
