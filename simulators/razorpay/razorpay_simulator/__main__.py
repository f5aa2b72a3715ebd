"""`python -m razorpay_simulator`: read the environment, serve until told to stop, leave with 0."""

import logging
import signal
import sys
from types import FrameType

from razorpay_simulator.server import log_to_stderr, serve
from razorpay_simulator.settings import Settings, UnusableSettings

logger = logging.getLogger("razorpay_simulator")


def main() -> None:
    log_to_stderr()
    try:
        settings = Settings.from_environment()
    except UnusableSettings as reason:
        logger.error("%s", reason)  # noqa: TRY400 - the reason is the whole message
        sys.exit(2)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    sys.exit(0 if serve(settings) else 1)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Uvicorn raises a signal again once it has shut down; a wanted end is not a failure."""
    sys.exit(0)


if __name__ == "__main__":
    main()
