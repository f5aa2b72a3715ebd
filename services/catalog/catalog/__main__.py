"""`python -m catalog [serve | migrate | openapi | seed]`."""

from catalog.app import build
from catalog.demo import seed_command
from catalog.settings import CatalogSettings
from chassis.service import main

main(CatalogSettings, build, {"seed": seed_command})
