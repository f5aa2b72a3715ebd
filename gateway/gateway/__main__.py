"""The gateway as a process of its own."""

from chassis.command_line import http_upstreams, needed_in_production, serve_or_leave, settings_or_leave
from chassis.rabbitmq import RabbitBus
from chassis.runner import run
from chassis.telemetry import configure_logging
from chassis.tracing import configure_tracing
from gateway.app import Alone, build, listeners
from gateway.settings import GatewaySettings


def main() -> None:
    """Serve until told to stop."""
    settings = settings_or_leave(GatewaySettings, needed=lambda read: ("amqp_url", *needed_in_production(read)))
    configure_logging(level=settings.log_level)
    configure_tracing(settings.otlp_endpoint)
    bus = RabbitBus(settings.amqp_url.get_secret_value() if settings.amqp_url else "", name=settings.service)
    upstreams = http_upstreams(settings)
    gateway = build(settings, bus, upstreams)
    serve_or_leave(run(Alone(gateway, bus, upstreams), listeners(gateway), grace=settings.drain_grace))


main()
