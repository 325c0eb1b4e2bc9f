"""One connection to the API: uvicorn's, and whoever does not say what they want is hung up on."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""How long the head of a request may take to come, from the connection or the last answer on; and a TLS handshake."""


class PatientConnection(H11Protocol):
    """Ends if no whole head of a request comes within HEAD_SECONDS, or if nothing of an answer is taken for so long.

    uvicorn itself ends silence between two requests, but waits forever for the first head, for the rest of one that has
    begun, and for whoever does not take the answer.
    """

    _look: asyncio.TimerHandle | None = None
    _left = -1
    """Bytes that the peer had not taken at the last look; -1: there was none yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._look_later(-1)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look_later(-1)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_no_more()
        super().connection_lost(exc)

    def _look_later(self, left: int) -> None:
        self._look_no_more()
        self._left = left
        self._look = self.loop.call_later(HEAD_SECONDS, self._hang_up_or_look_later)

    def _look_no_more(self) -> None:
        if self._look is not None:
            self._look.cancel()

    def _hang_up_or_look_later(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        left = self.transport.get_write_buffer_size()
        if (left or answering) and (left == 0 or left != self._left):
            self._look_later(left)
        else:
            self.transport.abort()  # not `close`, which would wait until the peer has taken everything
