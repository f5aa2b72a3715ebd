"""`python -m catalog [serve | migrate | openapi]`."""

from catalog.app import build
from catalog.settings import CatalogSettings
from chassis.service import main

main(CatalogSettings, build)
