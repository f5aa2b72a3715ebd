"""Telling our own end from that of something we waited for.

A driver that gives a connection up cancels the futures behind it, and whoever awaits one of them gets a CancelledError
that nobody meant for them. Taken for one's own end, a message would be answered by nobody.
"""

import asyncio


def is_stray(error: BaseException) -> bool:
    """Whether this is a cancellation that nobody asked the running task for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()
