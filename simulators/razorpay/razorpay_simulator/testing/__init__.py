"""For test suites of shops: a simulator to talk to, and a receiver for its webhooks."""

from razorpay_simulator.testing.process import RawAnswer, SimulatorProcess, SimulatorRefused
from razorpay_simulator.testing.receiver import ReceivedWebhook, WebhookReceiver

__all__ = ["RawAnswer", "ReceivedWebhook", "SimulatorProcess", "SimulatorRefused", "WebhookReceiver"]
