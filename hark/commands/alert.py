"""`hark alert`: the role that judges the rules of alerts.toml while mentions come in."""

from functools import partial
from pathlib import Path

import click

from hark.commands.options import common
from hark.commands.roles import metrics_option, start

LOOK_SECONDS = 5.0
LAG_SECONDS = 2.0
"""Elasticsearch shows what another process wrote within a second (its refresh_interval)."""


@click.command()
@common
@metrics_option
def command(config: Path | None, data: Path | None, metrics_port: int | None) -> None:
    """Judge every rule of alerts.toml on each five minutes that have closed, and record incidents.

    At its first start it reads four weeks of the past to learn what is usual, and keeps the incidents of the last
    seven days; nobody is told of those. `hark incidents` shows them, `hark notify` tells of new ones. Several may run
    at once: each five minutes are recorded by one of them.
    """
    from hark.alerts.live import Fence, Rounds, Watch
    from hark.alerts.outbox import ALERTS_BEAT, enqueuer
    from hark.alerts.targets import load_alerts
    from hark.core.clock import now, to_ms
    from hark.roles import done, wait_out
    from hark.state import open_state
    from hark.state.outbox import Outbox
    from hark.wiring import bus_of, names_of, open_store_of, taxonomy_of

    settings, stop = start("alert", config, data, metrics_port)
    rules, targets = load_alerts(settings.config)
    # A source that ends by itself, as files do, is not silent.
    sources = [entry.name for entry in settings.sources if entry.enabled and entry.type != "files"]
    store = wait_out(lambda: open_store_of(settings), stop, "store")
    state = wait_out(lambda: open_state(settings.center.state, settings.data), stop, "state")
    if store is None or state is None:
        return
    allowance = max((rule.allowance_seconds for rule in rules.values()), default=0)
    with bus_of(settings) as bus:
        try:
            watch = Watch(
                store, state, rules, taxonomy_of(settings), sources, enqueuer(targets), names_of(settings)
            )
            outbox = Outbox(state)
            lag = 0.0 if settings.center.store == "embedded" else LAG_SECONDS
            rounds = Rounds(watch, Fence(bus), now, lambda: outbox.note(ALERTS_BEAT, to_ms(now())), lag)
            while not stop.is_set():
                done(partial(rounds.turn, allowance), stop, "alerts")
                stop.wait(LOOK_SECONDS)
        finally:
            store.close()
            state.close()
