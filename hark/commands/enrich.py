"""`hark enrich`: the role that tags."""

import threading
from contextlib import ExitStack
from pathlib import Path

import click

from hark.commands.options import common
from hark.commands.roles import metrics_option, share, share_option, start


@click.command()
@common
@share_option
@metrics_option
def command(config: Path | None, data: Path | None, share_text: str, metrics_port: int | None) -> None:
    """Tag what is new in the log: language, brands, sentiment, topics and the rest of the chain."""
    from hark.core.change import MENTIONS
    from hark.drift import Counting
    from hark.ledger import ENRICH_GROUP, notice_losses
    from hark.roles import done, enrich_loop, wait_out
    from hark.wiring import bus_of, state_of, tags_of

    settings, stop = start("enrich", config, data, metrics_port)
    with ExitStack() as stack:
        state = wait_out(lambda: stack.enter_context(state_of(settings)), stop, "state")
        if state is None:
            return
        counting = Counting(state)
        tags = wait_out(lambda: tags_of(settings, counting.watch), stop, "state")
        if tags is None:
            return
        threading.Thread(target=tags.follow, args=(stop,), name="generation", daemon=True).start()
        adding_up = threading.Thread(target=counting.loop, args=(stop,), name="drift", daemon=True)
        adding_up.start()
        bus = stack.enter_context(bus_of(settings))
        if not done(lambda: notice_losses(bus, state), stop, "log"):
            return
        subscription = bus.subscribe(MENTIONS, ENRICH_GROUP, share(share_text))
        try:
            enrich_loop(subscription, tags, bus, stop)
        finally:
            subscription.close()
        adding_up.join()
        counting.try_to_add_up()
