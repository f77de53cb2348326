"""How soon a mention that is published to the log is in an open browser.

Starts a whole center (`hark up`), opens streams as the console's feed does, publishes mentions at a steady rate, and
prints the time from publish to arrival at each client, for all streams. The readers run in this process, the
publisher in a thread of it; they take processor time too.

    python -m bench.feed --streams 50 --rate 200 --seconds 30
"""

import argparse
import asyncio
import contextlib
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from hark import settings
from hark.core.change import MENTIONS, Seen, encode
from hark.core.mention import Author, Mention
from hark.state import open_state
from hark.state.people import People
from hark.wiring import bus_of
from tests.support.center import Center

TEXTS = (
    "@SouthwestAir my flight was cancelled, three hours on the tarmac and nobody helps",
    "@Delta thank you, the crew was wonderful today!",
    "@united where is my bag? It has been two days since Denver",
    "Southwest Airlines gate change at DAL, anyone know why?",
)
_SENT = re.compile(rb"sent(\d+)end")
_SKIPPED = re.compile(rb'"skipped":(\d+)')


class Reader:
    """One stream: notes the delay of each mention when it arrives."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.skipped = 0

    async def read(self, port: int, cookie: str, begun: asyncio.Event) -> None:
        """Read until cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        request = f"GET /feed/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: hark={cookie}\r\n\r\n"
        writer.write(request.encode())
        rest = b""
        try:
            while chunk := await reader.read(1 << 18):
                present = time.time_ns()
                begun.set()
                text = rest + chunk
                last = 0
                for found in _SENT.finditer(text):
                    self.delays.append((present - int(found[1])) / 1e9)
                    last = found.end()
                for skipped in _SKIPPED.finditer(chunk):
                    self.skipped += int(skipped[1])
                rest = text[max(last, len(text) - 40) :]
        finally:
            writer.close()


def publish(center: Center, rate: int, seconds: int) -> int:
    """Publish `rate` mentions a second, twenty times a second; return how many."""
    count = 0
    with bus_of(settings.load(None, center.data)) as bus:
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < seconds:
            due = int(passed * rate) - count
            messages = []
            for number in range(count, count + due):
                moment = datetime.now(UTC)
                text = f"{TEXTS[number % len(TEXTS)]} sent{time.time_ns()}end"
                author = Author(handle=f"person{number % 997}", followers=number % 5_000)
                mention = Mention(f"bench:{number}", "bench", text, moment, moment, author=author)
                messages.append((mention.id, encode(Seen(mention))))
            if messages:
                bus.publish(MENTIONS, messages)
                count += due
            time.sleep(0.05)
    return count


async def measure(
    center: Center, cookie: str, streams: int, rate: int, seconds: int
) -> tuple[list[Reader], int]:
    """Open the streams, publish, and wait until nothing more comes."""
    readers = [Reader() for _ in range(streams)]
    begun = [asyncio.Event() for _ in readers]
    tasks = [
        asyncio.create_task(reader.read(center.port, cookie, event))
        for reader, event in zip(readers, begun, strict=True)
    ]
    await asyncio.gather(*(event.wait() for event in begun))
    count = await asyncio.to_thread(publish, center, rate, seconds)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(len(r.delays) + r.skipped < count for r in readers):
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return readers, count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        center = Center(Path(folder))
        center.up()
        try:
            with contextlib.closing(open_state("embedded", center.data)) as state:
                people = People(state)
                people.add("reader", "agent", "a password of no use")
                cookie = people.begin_session("reader", 1.0)
            asyncio.run(measure(center, cookie, 1, 20, 3))  # the workers load their models
            console = psutil.Process(center.roles()["console"])
            before = sum(console.cpu_times()[:2])
            work = measure(center, cookie, options.streams, options.rate, options.seconds)
            readers, count = asyncio.run(work)
            used = (sum(console.cpu_times()[:2]) - before) / count * 1e6
        finally:
            center.down()
    delays = np.array([delay for reader in readers for delay in reader.delays])
    skipped = sum(reader.skipped for reader in readers)
    print(
        f"{options.streams} streams, {count} mentions at {options.rate}/s: {len(delays)} arrivals, {skipped} left out"
    )
    p50, p90, p99, most = np.percentile(delays, [50, 90, 99, 100])
    print(f"the console's process used {used:.0f} microseconds of processor time a mention, for all streams")
    print(f"publish to arrival: p50 {p50:.2f} s, p90 {p90:.2f} s, p99 {p99:.2f} s, most {most:.2f} s")


if __name__ == "__main__":
    main()
