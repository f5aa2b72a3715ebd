"""`python -m payments [serve | migrate | openapi | events … | reconcile]`."""

from chassis.command_line import main
from payments.app import build
from payments.reconcile_command import reconcile_command
from payments.settings import PaymentsSettings

main(PaymentsSettings, build, {"reconcile": reconcile_command})
