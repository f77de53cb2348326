"""`hark enrich`: the role that tags."""

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
    from hark.ledger import ENRICH_GROUP
    from hark.roles import enrich_loop
    from hark.wiring import bus_of, chain_of

    settings, stop = start("enrich", config, data, metrics_port)
    chain = chain_of(settings)
    with bus_of(settings) as bus:
        subscription = bus.subscribe(MENTIONS, ENRICH_GROUP, share(share_text))
        try:
            enrich_loop(subscription, chain, bus, stop)
        finally:
            subscription.close()
