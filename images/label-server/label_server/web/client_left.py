"""Notices that a client goes away while its request waits: nobody needs an answer that is dropped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request


@asynccontextmanager
async def watched(request: Request) -> AsyncIterator[asyncio.Future[None]]:
    """A future that is done when the client has gone; watched for in the with statement only.

    Args:
        request: whose body has been read, as far as anybody reads it.

    """
    left = asyncio.create_task(_left(request))
    try:
        yield left
    finally:
        left.cancel()
        await asyncio.wait([left])  # or it would take messages from whoever sends the answer


async def _left(request: Request) -> None:
    try:
        while (await request.receive())["type"] != "http.disconnect":
            pass
    except HTTPException:  # a body that nobody reads is too long, or does not come: its client is there
        await asyncio.get_running_loop().create_future()
