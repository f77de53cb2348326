"""The metrics of every role, for Prometheus. Numbers and names of sources and brands only, never texts.

When PROMETHEUS_MULTIPROC_DIR is set (`hark up` sets it) the roles' processes share their numbers through files
in that folder, and the console's /metrics shows all of them.
"""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)

published = Counter("hark_collected_total", "Changes that a source put into the log", ["source"])
unmatched = Counter("hark_unmatched_total", "Mentions of a firehose that match no brand", ["source"])
reads = Counter("hark_platform_reads_total", "Reads that the platform charges for", ["source"])
source_errors = Counter("hark_source_errors_total", "Times that a source had to start again", ["source"])
enriched = Counter("hark_enriched_total", "Changes that were tagged or passed on")
indexed = Counter("hark_indexed_total", "Changes written to the store")
rejected = Counter("hark_rejected_total", "Items that a stage refused", ["stage"])
stage_seconds = Histogram(
    "hark_batch_seconds", "Time that a stage took for a batch", ["stage"], buckets=SECONDS
)
freshness = Histogram(
    "hark_collected_to_indexed_seconds", "Time from collected to searchable, per mention", buckets=SECONDS
)
restarts = Counter("hark_role_restarts_total", "Times that the supervisor started a role again", ["role"])
notifications = Counter(
    "hark_notifications_total", "Attempts to tell a target, by what came of them", ["target", "outcome"]
)

# Set by every enrich worker, from what all of them counted: the one that looked last is right.
tags = Counter(
    "hark_tags_total", "Tags given, by value; numbers by the lower end of their range", ["tag", "value"]
)
tag_share = Gauge(
    "hark_tag_share",
    "Share of each value of a tag: over the last seven days (now), and in what they are compared with (then)",
    ["tag", "value", "when"],
    multiprocess_mode="mostrecent",
)
tag_mean = Gauge(
    "hark_tag_mean",
    "Mean confidence and mean share of unknown words, now and then",
    ["tag", "when"],
    multiprocess_mode="mostrecent",
)
drift_index = Gauge(
    "hark_drift_index",
    "Population stability index of a tag; NaN while there is too little to compare",
    ["tag"],
    multiprocess_mode="mostrecent",
)
drift_chance = Gauge(
    "hark_drift_chance",
    "What the index stays below by chance alone, nineteen times in twenty",
    ["tag"],
    multiprocess_mode="mostrecent",
)
