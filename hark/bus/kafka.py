"""The log on Kafka, through kafka-python. Sends are idempotent and acknowledged by all replicas in sync."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition, errors
from kafka.admin import ConfigResource, OffsetSpec

from hark.bus.cluster import BROKEN_LOGIN, Cluster, cluster_of, refusal_in
from hark.bus.members import Member, Tail, patiently, read, span
from hark.bus.rules import (
    DELIVERY_SECONDS,
    HEARTBEAT_SECONDS,
    MAX_BATCH_BYTES,
    METADATA_SECONDS,
    REQUEST_SECONDS,
    SESSION_SECONDS,
    check_name,
    check_share,
    decode,
    encode,
    gone_before,
    kept_by,
    member_name,
    next_offsets,
    too_large_for,
    topic_config,
)
from hark.core.clock import monotonic
from hark.core.errors import FatalError, HarkError, RefusedError, SettingsError, TransientError
from hark.core.protocols import Record, Subscription
from hark.settings import LogSettings

_LOG = logging.getLogger(__name__)
_LOST_MEMBERSHIP = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
)


def connect(address: str, data: Path, log: LogSettings) -> "KafkaBus":
    """Name the brokers; nothing is contacted before the first use, and nothing is kept in `data`."""
    return KafkaBus(cluster_of(address, log))


class _Heard(logging.Handler):
    """Remembers why a broker lets nobody in: the client writes that into its log alone, and goes on trying."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.refusal: str | None = None
        self.broken = False
        """It may notice the end of a connection before the reason that came just ahead of it."""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        self.refusal = refusal_in(said) or self.refusal
        self.broken = self.broken or "socket disconnected" in said


class KafkaBus:
    """The log on one Kafka. Any number of threads may publish and look up."""

    def __init__(self, cluster: Cluster) -> None:
        self._log = cluster.log
        self._hosts = cluster.hosts
        self._common: dict[str, Any] = {
            "bootstrap_servers": cluster.hosts.split(","),
            "bootstrap_timeout_ms": cluster.first_answer_seconds * 1000,
            "request_timeout_ms": REQUEST_SECONDS * 1000,
            "reconnect_backoff_max_ms": 1000,
            "security_protocol": cluster.protocol,
        }
        if cluster.tls:
            self._common["ssl_cafile"] = cluster.log.ca_certs or None
        if cluster.login is not None:
            self._common |= {
                "sasl_mechanism": cluster.login.mechanism,
                "sasl_plain_username": cluster.login.username,
                "sasl_plain_password": cluster.login.password,
            }
        self._lock = threading.RLock()
        self._producer: Any = None
        self._admin: Any = None
        self._partitions: dict[str, tuple[float, list[TopicPartition]]] = {}
        """Of each topic, and when that was asked."""

    def publish(self, topic: str, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send all and wait until all are acknowledged; a broker's restart is waited out."""
        if not messages:
            return
        encoded = encode(messages)
        self._topic(topic)
        producer = self._open_producer()
        try:
            with _translated(self._hosts):
                futures = [producer.send(topic, value=value, key=key) for key, value in encoded]
                # every send has ended by then, or never will, as may be where its topic was deleted
                producer.flush(DELIVERY_SECONDS + REQUEST_SECONDS)
                for (key, value), future in zip(messages, futures, strict=True):
                    if isinstance(future.exception, errors.MessageSizeTooLargeError):
                        raise RefusedError(too_large_for(topic, key, len(value)))
                    if not future.succeeded():
                        raise future.exception
        except (TransientError, RefusedError):
            # An idempotent producer that has given up on a message cannot be relied on for the next: after one that is
            # too large it calls each one so.
            self._drop_producer(producer)
            with self._lock:
                self._partitions.pop(topic, None)  # it may have been deleted
            raise

    def _open_producer(self) -> Any:
        with self._lock, _translated(self._hosts):
            if self._producer is None:
                self._producer = KafkaProducer(
                    **self._common,
                    acks="all",
                    enable_idempotence=True,
                    compression_type="lz4",
                    linger_ms=5,
                    batch_size=256 << 10,
                    max_request_size=MAX_BATCH_BYTES,
                    delivery_timeout_ms=DELIVERY_SECONDS * 1000,
                    max_block_ms=DELIVERY_SECONDS * 1000,
                    allow_auto_create_topics=False,
                )
            return self._producer

    def _drop_producer(self, producer: Any) -> None:
        with self._lock:
            if producer is self._producer:
                self._producer = None
        _end(producer)

    def _topic(self, topic: str) -> list[TopicPartition]:
        """Return the topic's partitions, as they were when last asked for, after creating it where it is new."""
        check_name("topic", topic)
        with self._lock:
            if topic not in self._partitions:
                if topic not in self._ask(lambda admin: admin.list_topics()):
                    self._ask(lambda admin: self._create(admin, topic))
                self._look_at(topic)
            return self._partitions[topic][1]

    def _places(self, topic: str) -> list[TopicPartition]:
        """Return the topic's partitions, those that were added some seconds ago too."""
        with self._lock:
            self._topic(topic)
            if monotonic() - self._partitions[topic][0] > METADATA_SECONDS:
                self._look_at(topic)
            return self._partitions[topic][1]

    def _look_at(self, topic: str) -> None:
        (described,) = self._ask(lambda admin: admin.describe_topics([topic]))
        numbers = sorted(partition["partition_index"] for partition in described["partitions"])
        self._partitions[topic] = monotonic(), [TopicPartition(topic, number) for number in numbers]

    def _create(self, admin: Any, topic: str) -> None:
        wanted = {
            "num_partitions": self._log.partitions,
            "replication_factor": self._log.replication,
            "configs": topic_config(self._log),
        }
        try:
            admin.create_topics({topic: wanted})
        except errors.TopicAlreadyExistsError:
            _LOG.info("another process has just created the topic %s", topic)
        admin.wait_for_topics([topic])

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """Return the cluster's answer, asked again for a while where it is restarting or electing a leader."""
        with self._lock, _translated(self._hosts):
            return patiently(REQUEST_SECONDS, lambda: question(self._open_admin()), _passes)

    def _open_admin(self) -> Any:
        if self._admin is None:
            heard, spoken = _Heard(), logging.getLogger("kafka.net")
            spoken.addHandler(heard)
            try:
                self._admin = KafkaAdminClient(**self._common)
            except errors.KafkaError as error:
                if heard.refusal is not None:
                    raise SettingsError(f"bus: Kafka at {self._hosts}: {heard.refusal}") from error
                if heard.broken and "sasl_mechanism" in self._common:
                    raise TransientError(f"Kafka at {self._hosts}: {BROKEN_LOGIN}") from error
                raise
            finally:
                spoken.removeHandler(heard)
        return self._admin

    def subscribe(self, topic: str, group: str | None, share: tuple[int, int] = (0, 1)) -> Subscription:
        """Join `group` as the static member `share`; without a group, follow the end."""
        check_share(share)
        partitions = self._topic(topic)
        if group is None:
            ends = self._offsets(partitions, OffsetSpec.LATEST)
            known = [place.partition for place in ends]
            return Tail(self._follow(ends), known, lambda: [p.partition for p in self._places(topic)])
        check_name("group", group)
        with _translated(self._hosts):
            consumer = KafkaConsumer(
                topic,
                **self._common,
                group_id=group,
                group_instance_id=member_name(topic, group, share),
                session_timeout_ms=SESSION_SECONDS * 1000,
                heartbeat_interval_ms=HEARTBEAT_SECONDS * 1000,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                metadata_max_age_ms=METADATA_SECONDS * 1000,
            )
        return Member(_Consumer(consumer, self._hosts))

    def _follow(self, positions: Mapping[TopicPartition, int]) -> "_Consumer":
        """Return a consumer without a group that stands at `positions`."""
        with _translated(self._hosts):
            consumer = KafkaConsumer(
                **self._common,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
            )
            consumer.assign(list(positions))
            for partition, offset in positions.items():
                consumer.seek(partition, offset)
            return _Consumer(consumer, self._hosts)

    def read(
        self, topic: str, start: Mapping[int, int] | None = None, end: Mapping[int, int] | None = None
    ) -> Iterator[Record]:
        """Yield records of a range, in order within each partition."""
        begin, stop = span(self.starts(topic), self.ends(topic), start, end)
        return read(lambda: self._follow({TopicPartition(topic, p): n for p, n in begin.items()}), stop)

    def _offsets(self, partitions: list[TopicPartition], which: OffsetSpec) -> dict[TopicPartition, int]:
        found = self._ask(lambda admin: admin.list_partition_offsets(dict.fromkeys(partitions, which)))
        return {partition: answer.offset for partition, answer in found.items()}

    def starts(self, topic: str) -> dict[int, int]:
        """Return the oldest kept offset of each partition."""
        return _by_number(self._offsets(self._places(topic), OffsetSpec.EARLIEST))

    def ends(self, topic: str) -> dict[int, int]:
        """Return the offset that each partition's next record will have."""
        return _by_number(self._offsets(self._places(topic), OffsetSpec.LATEST))

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Return, for each partition, the offset of the next record that `group` has not processed."""
        commits = self._commits(topic, group)
        return next_offsets(self.starts(topic), commits)

    def lost(self, topic: str, group: str) -> dict[int, tuple[int, int]]:
        """Return, where there are any, the offsets from and up to which records went before `group` processed them."""
        oldest = self.starts(topic)  # first: what is processed meanwhile may go
        return gone_before(oldest, self._commits(topic, group))

    def _commits(self, topic: str, group: str) -> dict[int, int]:
        partitions = self._places(topic)
        found = self._ask(lambda admin: admin.list_group_offsets({group: partitions}))[group]
        return {place.partition: found[place].offset for place in partitions}

    def kept(self, topic: str) -> timedelta | None:
        """Return how long a record may lie in the log's files, by what the broker says of the topic."""
        self._topic(topic)
        wanted = [ConfigResource("topic", topic)]
        found = self._ask(lambda admin: admin.describe_configs(wanted, config_filter="all"))["topic"][topic]
        return kept_by({name: entry["value"] for name, entry in found.items()})

    def hold(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Do nothing: Kafka's retention asks nobody, and `lost` tells of it."""

    def begin(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Let a group that nobody has joined yet begin at `offsets`; one that has begun stays where it is."""
        partitions = self._topic(topic)
        found = self._ask(lambda admin: admin.list_group_offsets({group: partitions}))[group]
        wanted = {
            p: OffsetAndMetadata(offsets[p.partition], "", -1)
            for p in partitions
            if p.partition in offsets and found[p].offset < 0
        }
        if wanted:

            def settle(admin: Any) -> None:
                for error in admin.alter_group_offsets(group, wanted).values():
                    if error is not errors.NoError:
                        raise error

            self._ask(settle)

    def forget(self, topic: str, group: str) -> None:
        """Delete the group; TransientError while a member that has left may still come back."""
        said = self._ask(lambda admin: admin.delete_groups([group]))[group]
        if said not in ("OK", errors.GroupIdNotFoundError.__name__):
            raise TransientError(f"Kafka at {self._hosts} does not forget the group {group} yet: {said}")

    def drop(self, topic: str) -> None:
        """Delete the topic; idempotent."""
        check_name("topic", topic)
        with self._lock:
            self._partitions.pop(topic, None)
        if topic in self._ask(lambda admin: admin.list_topics()):
            self._ask(lambda admin: admin.delete_topics([topic]))

    def close(self) -> None:
        """Close the connections; subscriptions are closed by their owners."""
        with self._lock:
            producer, self._producer = self._producer, None
            admin, self._admin = self._admin, None
        if producer is not None:
            _end(producer)
        if admin is not None:
            admin.close()


class _Consumer:
    """See hark.bus.members.Consumer."""

    def __init__(self, consumer: Any, hosts: str) -> None:
        self._consumer = consumer
        self._hosts = hosts

    def poll(self, limit: int, timeout_seconds: float) -> list[Record]:
        with _translated(self._hosts):
            found = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000), max_records=limit)
            coordinator = self._consumer._coordinator
            if coordinator.rejoining:
                # Partitions that came or went made it join again, and the time was up before it was in. By the next
                # poll it would find nothing changed since, never take up what the join brought, and wait for good
                # (Kafka's own client had this as KAFKA-9815).
                coordinator.request_rejoin()
        return [
            Record(record.partition, record.offset, *decode(record.key, record.value), record.timestamp)
            for records in found.values()
            for record in records
        ]

    def assigned(self) -> list[int]:
        return [place.partition for place in self._consumer.assignment()]

    def add(self, partitions: Iterable[int]) -> None:
        followed = self._consumer.assignment()
        (topic,) = {place.topic for place in followed}
        added = [TopicPartition(topic, number) for number in partitions]
        with _translated(self._hosts):
            self._consumer.assign([*followed, *added])
            for place in added:
                self._consumer.seek(place, 0)

    def stop_at(self, ends: Mapping[int, int]) -> set[int]:
        with _translated(self._hosts):
            places = [place for place in self._consumer.assignment() if place.partition in ends]
            done = [
                place for place in places if (self._consumer.position(place) or 0) >= ends[place.partition]
            ]
            self._consumer.pause(*done)
        return {place.partition for place in done}

    def commit(self, offsets: Mapping[int, int]) -> None:
        wanted = {
            place: OffsetAndMetadata(offsets[place.partition], "", -1)
            for place in self._consumer.assignment()
            if place.partition in offsets
        }

        def commit() -> None:
            self._consumer.commit(wanted, timeout_ms=DELIVERY_SECONDS * 1000)

        with _translated(self._hosts):
            try:
                patiently(DELIVERY_SECONDS, commit, _passes)
            except _LOST_MEMBERSHIP as error:
                _LOG.info("a rebalance came before the commit, the records are delivered again: %s", error)

    def close(self) -> None:
        with _translated(self._hosts):
            self._consumer.close(autocommit=False)


def _end(producer: Any) -> None:
    """Close it at once; what it has not sent is given up."""
    try:
        producer.close(timeout=0)
    except errors.KafkaTimeoutError:
        # It asked whether all was sent, and left it at that: it would send on for as long as this process lives.
        producer._sender.force_close()
        producer.close(timeout=REQUEST_SECONDS)


def _passes(error: Exception) -> bool:
    # A partition without a leader, as for an instant after a broker's restart, is looked for at the broker -1, and a
    # coordinator at one that the client has not heard of yet: it calls neither retriable. While brokers restart there
    # may be too few for the copies that a new topic is to have.
    return isinstance(
        error, (errors.RetriableError, errors.UnknownBrokerIdError, errors.InvalidReplicationFactorError)
    )


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {partition.partition: offset for partition, offset in sorted(offsets.items())}


@contextmanager
def _translated(hosts: str) -> Iterator[None]:
    """Turn kafka-python's errors into Hark's."""
    try:
        yield
    except HarkError:
        raise
    except (errors.AuthorizationError, errors.SaslAuthenticationFailedError) as error:
        raise SettingsError(f"Kafka at {hosts} does not let us in: {error}") from error
    except errors.FencedInstanceIdError as error:
        raise FatalError("another process is this member of the group: give each its own share") from error
    except errors.MessageSizeTooLargeError as error:
        raise RefusedError(f"a message is larger than Kafka at {hosts} takes: {error}") from error
    except errors.KafkaError as error:
        raise TransientError(f"Kafka at {hosts} is away: {error}") from error
