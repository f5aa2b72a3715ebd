"""`python -m accounts [serve | migrate | openapi | events … | seed]`."""

from accounts.app import build
from accounts.registration import seed_command
from accounts.settings import AccountsSettings
from chassis.command_line import main

main(AccountsSettings, build, {"seed": seed_command})
