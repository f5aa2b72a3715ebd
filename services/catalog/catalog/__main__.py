"""`python -m catalog [serve | migrate | openapi | events … | seed]`."""

from catalog.app import build
from catalog.demo import seed_command
from catalog.settings import CatalogSettings
from chassis.command_line import main

main(CatalogSettings, build, {"seed": seed_command})
