"""`hark index`: the role that writes to the store."""

import gc
from pathlib import Path

import click

from hark.commands.options import common
from hark.commands.roles import metrics_option, share, share_option, start


@click.command()
@common
@share_option
@metrics_option
def command(config: Path | None, data: Path | None, share_text: str, metrics_port: int | None) -> None:
    """Write what is tagged to the store; while the store is away it waits, and nothing is lost."""
    from hark.core.change import ENRICHED
    from hark.ledger import INDEX_GROUP, notice_losses
    from hark.roles import done, index_loop, wait_out
    from hark.wiring import bus_of, every_store_of, state_of

    settings, stop = start("index", config, data, metrics_port)
    store = wait_out(lambda: every_store_of(settings), stop, "store")
    if store is None:
        return
    with bus_of(settings) as bus:

        def notice() -> None:
            with state_of(settings) as state:
                notice_losses(bus, state)

        if not done(notice, stop, "log"):
            return
        subscription = bus.subscribe(ENRICHED, INDEX_GROUP, share(share_text))
        # What is loaded by now stays, and mentions hold no cycles: looking for some took a tenth of the time.
        gc.freeze()
        gc.set_threshold(50_000)
        try:
            index_loop(subscription, store, bus, stop)
        finally:
            subscription.close()
            store.close()
