"""Runs the payments service."""

from chassis.service import main
from payments.app import build
from payments.settings import PaymentsSettings

main(PaymentsSettings, build)
