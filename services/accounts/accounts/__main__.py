"""`python -m accounts [serve | migrate | openapi]`."""

from accounts.app import build
from accounts.settings import AccountsSettings
from chassis.service import main

main(AccountsSettings, build)
