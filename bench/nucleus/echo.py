"""A bare asyncio UDP echo: the ceiling of what a Nucleus on asyncio could answer.

python -m bench.nucleus.echo      prints its port on 127.0.0.1 and serves until it is ended
"""

from __future__ import annotations

import asyncio
from typing import Any


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


async def main() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
