"""The log on Kafka through confluent-kafka (the extra `confluent`): the same topics and groups as hark.bus.kafka.

librdkafka does the work outside Python's lock, at ten times the rate and more. Keys are spread over partitions
as the other client does it, so that both can be used on one log.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from hark.bus.cluster import Cluster, cluster_of, refusal_in
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

try:
    from confluent_kafka import (
        Consumer,
        KafkaError,
        KafkaException,
        Producer,
        TopicPartition,
    )
    from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec  # type: ignore[attr-defined]
except ImportError as error:
    raise SettingsError(
        "bus: kafka+confluent needs the extra `confluent` (pip install 'hark[confluent]'); kafka:// works without"
    ) from error

_LOG = logging.getLogger(__name__)
# librdkafka writes a line for each connection that it could not make. What matters comes as an error too, and Python
# would print the lines amid a command's answer and a role's log.
_LOG.addHandler(logging.NullHandler())
_LOST_MEMBERSHIP = {
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError._NO_OFFSET,
    # After a broker's long restart a member joins anew and is fenced by itself; one whose place another process has
    # taken hears of it from its next poll, and for good.
    KafkaError.FENCED_INSTANCE_ID,
}
_PASSING = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError.LEADER_NOT_AVAILABLE,
    # What the admin client makes of it when no partition that it was asked about has a leader that it knows: for an
    # instant after a broker's restart. (When some have one, the others bring LEADER_NOT_AVAILABLE.)
    KafkaError._NOENT,
    KafkaError.NOT_CONTROLLER,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.INVALID_REPLICATION_FACTOR,  # of a new topic, while too few brokers are up
    KafkaError.UNKNOWN_TOPIC_OR_PART,  # as long as a new or moved topic is not known to every broker
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._MAX_POLL_EXCEEDED,  # the next poll joins again
}
_NO_ENTRY = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
}


def connect(address: str, data: Path, log: LogSettings) -> "ConfluentBus":
    """Name the brokers; nothing is contacted before the first use, and nothing is kept in `data`."""
    return ConfluentBus(cluster_of(address, log))


class ConfluentBus:
    """The log on one Kafka. Any number of threads may publish and look up."""

    def __init__(self, cluster: Cluster) -> None:
        self._hosts = cluster.hosts
        self._log = cluster.log
        self._list_seconds = cluster.first_answer_seconds
        self._common: dict[str, Any] = {
            "bootstrap.servers": cluster.hosts,
            "reconnect.backoff.max.ms": 1000,
            "socket.timeout.ms": REQUEST_SECONDS * 1000,
            "logger": _LOG,
            "security.protocol": cluster.protocol,
        }
        if cluster.tls and cluster.log.ca_certs:
            self._common["ssl.ca.location"] = cluster.log.ca_certs
        if cluster.login is not None:
            self._common |= {
                "sasl.mechanism": cluster.login.mechanism,
                "sasl.username": cluster.login.username,
                "sasl.password": cluster.login.password,
            }
        self._lock = threading.RLock()
        self._producer: Any = None
        self._admin: Any = None
        self._refusal: str | None = None
        self._partitions: dict[str, tuple[float, list[int]]] = {}
        """Of each topic, and when that was asked."""
        self._outsiders: dict[str, Any] = {}
        """Consumers by group that only look and never join."""

    def publish(self, topic: str, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send all and wait until all are acknowledged; a broker's restart is waited out."""
        if not messages:
            return
        encoded = encode(messages)
        self._topic(topic)
        producer = self._open_producer()
        outcome = _Outcome()
        with _translated(self._hosts):
            for key, value in encoded:
                while True:
                    try:
                        producer.produce(topic, value, key, on_delivery=outcome)
                        break
                    except BufferError:  # its queue is full: make room
                        producer.poll(0.1)
            deadline = monotonic() + DELIVERY_SECONDS + REQUEST_SECONDS
            while len(outcome.reports) < len(encoded):
                if monotonic() > deadline:  # each has been reported by then, or never will be
                    self._drop_producer(producer)
                    raise TransientError(f"Kafka at {self._hosts} does not say what became of messages")
                producer.poll(0.1)
            error = next((report for report in outcome.reports if report is not None), None)
            if error is not None:
                if error.fatal():
                    self._drop_producer(producer)
                with self._lock:
                    self._partitions.pop(topic, None)  # it may have been deleted
                raise outcome.refused or KafkaException(error)

    def _open_producer(self) -> Any:
        with self._lock:
            if self._producer is None:
                self._producer = Producer(
                    {
                        **self._common,
                        "enable.idempotence": True,
                        "acks": "all",
                        "partitioner": "murmur2_random",
                        "compression.type": "lz4",
                        "linger.ms": 5,
                        "message.max.bytes": MAX_BATCH_BYTES,
                        "delivery.timeout.ms": DELIVERY_SECONDS * 1000,
                    }
                )
            return self._producer

    def _drop_producer(self, producer: Any) -> None:
        with self._lock:
            if producer is self._producer:
                self._producer = None

    def _topic(self, topic: str) -> list[int]:
        """Return the topic's partitions, as they were when last asked for, after creating it where it is new."""
        check_name("topic", topic)
        with self._lock:
            if topic not in self._partitions:
                known = self._known()
                if topic not in known:
                    known = self._create(topic)
                self._partitions[topic] = monotonic(), sorted(known[topic].partitions)
            return self._partitions[topic][1]

    def _places(self, topic: str) -> list[int]:
        """Return the topic's partitions, those that were added some seconds ago too."""
        with self._lock:
            self._topic(topic)
            if monotonic() - self._partitions[topic][0] > METADATA_SECONDS:
                known = self._known()
                if topic not in known:
                    raise TransientError(f"Kafka at {self._hosts} has no topic {topic} any more")
                self._partitions[topic] = monotonic(), sorted(known[topic].partitions)
            return self._partitions[topic][1]

    def _known(self) -> Any:
        return self._ask(lambda admin: admin.list_topics(timeout=self._list_seconds)).topics

    def _create(self, topic: str) -> Any:
        """Create the topic and return the cluster's topics once each of its partitions has a leader."""

        def create(admin: Any) -> None:
            wanted = NewTopic(
                topic, self._log.partitions, self._log.replication, config=topic_config(self._log)
            )
            try:
                admin.create_topics([wanted])[topic].result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                _LOG.info("another process has just created the topic %s", topic)

        self._ask(create)
        deadline = monotonic() + REQUEST_SECONDS
        while True:
            known = self._known()
            if (
                topic in known
                and known[topic].partitions
                and all(p.error is None and p.leader >= 0 for p in known[topic].partitions.values())
            ):
                return known
            if monotonic() > deadline:
                raise TransientError(f"Kafka at {self._hosts} has no leader yet for the new topic {topic}")
            time.sleep(0.05)

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """Return the cluster's answer, asked again for a while where it is restarting or electing a leader."""
        with self._lock, _translated(self._hosts):
            return patiently(REQUEST_SECONDS, lambda: self._ask_once(question), _passes)

    def _ask_once(self, question: Callable[[Any], Any]) -> Any:
        admin, self._admin = self._admin or AdminClient(self._common | {"error_cb": self._hear}), None
        try:
            answer = question(admin)
        except KafkaException as error:
            self._refusal = None
            admin.poll(0)  # brings what it has heard, which the exception does not say
            if self._refusal is not None:
                raise SettingsError(f"bus: Kafka at {self._hosts}: {self._refusal}") from error
            raise
        # kept only after a success: a client goes on asking by the leader epochs of before a broker's restart
        self._admin = admin
        return answer

    def _hear(self, error: Any) -> None:
        self._refusal = refusal_in(error.str()) or self._refusal

    def subscribe(self, topic: str, group: str | None, share: tuple[int, int] = (0, 1)) -> Subscription:
        """Join `group` as the static member `share`; without a group, follow the end."""
        check_share(share)
        self._topic(topic)
        if group is None:
            ends = self.ends(topic)
            return Tail(self._follow(topic, ends), ends, lambda: self._places(topic))
        check_name("group", group)
        consumer = Consumer(
            {
                **self._common,
                "group.id": group,
                "group.instance.id": member_name(topic, group, share),
                "session.timeout.ms": SESSION_SECONDS * 1000,
                "heartbeat.interval.ms": HEARTBEAT_SECONDS * 1000,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "topic.metadata.refresh.interval.ms": METADATA_SECONDS * 1000,
            }
        )
        consumer.subscribe([topic])
        return Member(_Consumer(consumer, topic, self._hosts))

    def _follow(self, topic: str, positions: Mapping[int, int]) -> "_Consumer":
        """Return a consumer that stands at `positions`; the group that the client wants is never joined."""
        consumer = Consumer(
            {
                **self._common,
                "group.id": "hark-without-a-group",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
            }
        )
        consumer.assign([TopicPartition(topic, p, offset) for p, offset in positions.items()])
        return _Consumer(consumer, topic, self._hosts)

    def read(
        self, topic: str, start: Mapping[int, int] | None = None, end: Mapping[int, int] | None = None
    ) -> Iterator[Record]:
        """Yield records of a range, in order within each partition."""
        begin, stop = span(self.starts(topic), self.ends(topic), start, end)
        return read(lambda: self._follow(topic, begin), stop)

    def _offsets(self, topic: str, which: Any) -> dict[int, int]:
        places = {TopicPartition(topic, p): which for p in self._places(topic)}
        found = self._ask(lambda admin: {p: f.result() for p, f in admin.list_offsets(places).items()})
        return {place.partition: answer.offset for place, answer in sorted(found.items())}

    def starts(self, topic: str) -> dict[int, int]:
        """Return the oldest kept offset of each partition."""
        return self._offsets(topic, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def ends(self, topic: str) -> dict[int, int]:
        """Return the offset that each partition's next record will have."""
        return self._offsets(topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Return, for each partition, the offset of the next record that `group` has not processed."""
        commits = self._commits(topic, group)
        return next_offsets(self.starts(topic), commits)

    def lost(self, topic: str, group: str) -> dict[int, tuple[int, int]]:
        """Return, where there are any, the offsets from and up to which records went before `group` processed them."""
        oldest = self.starts(topic)  # first: what is processed meanwhile may go
        return gone_before(oldest, self._commits(topic, group))

    def _commits(self, topic: str, group: str) -> dict[int, int]:
        with self._lock, _translated(self._hosts):
            found = patiently(REQUEST_SECONDS, lambda: self._committed(topic, group), _passes)
        return {place.partition: place.offset for place in found}

    def _committed(self, topic: str, group: str) -> list[Any]:
        """Ask by a consumer that never joins.

        The admin client's requests about groups crash in librdkafka's own thread (a segmentation fault, 2.16) while
        the group's coordinator is not ready.
        """
        places = [TopicPartition(topic, partition) for partition in self._places(topic)]
        consumer = self._outsiders.pop(group, None) or Consumer(
            {**self._common, "group.id": group, "enable.auto.commit": False}
        )
        found: list[Any] = consumer.committed(places, timeout=REQUEST_SECONDS)
        _raise_first_error(found)
        self._outsiders[group] = consumer  # kept only after a success, as the admin client is
        return found

    def kept(self, topic: str) -> timedelta | None:
        """Return how long a record may lie in the log's files, by what the broker says of the topic."""
        self._topic(topic)
        place = ConfigResource(ConfigResource.Type.TOPIC, topic)
        found = self._ask(lambda admin: admin.describe_configs([place])[place].result())
        return kept_by({name: entry.value for name, entry in found.items()})

    def hold(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Do nothing: Kafka's retention asks nobody, and `lost` tells of it."""

    def begin(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Let a group that nobody has joined yet begin at `offsets`; one that has begun stays where it is."""

        def settle() -> None:
            found = self._committed(topic, group)
            wanted = [
                TopicPartition(topic, place.partition, offsets[place.partition])
                for place in found
                if place.partition in offsets and place.offset < 0
            ]
            if wanted:
                _settle(self._outsiders[group], wanted)

        with self._lock, _translated(self._hosts):
            patiently(DELIVERY_SECONDS, settle, _passes)

    def forget(self, topic: str, group: str) -> None:
        """Delete the group; TransientError while a member that has left may still come back."""

        def delete(admin: Any) -> None:
            try:
                admin.delete_consumer_groups([group])[group].result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                    raise

        self._ask(delete)

    def drop(self, topic: str) -> None:
        """Delete the topic; idempotent."""
        check_name("topic", topic)
        with self._lock:
            self._partitions.pop(topic, None)
        if topic in self._known():
            self._ask(lambda admin: admin.delete_topics([topic])[topic].result())

    def close(self) -> None:
        """Let go of the connections; subscriptions are closed by their owners."""
        with self._lock:
            self._producer = self._admin = None
            while self._outsiders:
                self._outsiders.popitem()[1].close()


class _Outcome:
    """What became of one publish: a report a message, its error or None. Any thread's poll may bring it."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.refused: RefusedError | None = None

    def __call__(self, error: Any, message: Any) -> None:
        if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            reason = too_large_for(message.topic(), message.key().decode(), len(message.value()))
            self.refused = RefusedError(reason)
        self.reports.append(error)


class _Consumer:
    """See hark.bus.members.Consumer."""

    def __init__(self, consumer: Any, topic: str, hosts: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._hosts = hosts

    def poll(self, limit: int, timeout_seconds: float) -> list[Record]:
        with _translated(self._hosts):
            return _poll(self._consumer, limit, timeout_seconds)

    def assigned(self) -> list[int]:
        with _translated(self._hosts):
            return [place.partition for place in self._consumer.assignment()]

    def add(self, partitions: Iterable[int]) -> None:
        with _translated(self._hosts):
            self._consumer.incremental_assign([TopicPartition(self._topic, p, 0) for p in partitions])

    def stop_at(self, ends: Mapping[int, int]) -> set[int]:
        with _translated(self._hosts):
            places = self._consumer.position([TopicPartition(self._topic, p) for p in ends])
            done = {place.partition for place in places if place.offset >= ends[place.partition]}
            self._consumer.pause([TopicPartition(self._topic, p) for p in done])
        return done

    def commit(self, offsets: Mapping[int, int]) -> None:
        wanted = [TopicPartition(self._topic, number, offset) for number, offset in offsets.items()]
        with _translated(self._hosts):
            try:
                patiently(DELIVERY_SECONDS, lambda: _settle(self._consumer, wanted), _passes)
            except KafkaException as error:
                if error.args[0].code() not in _LOST_MEMBERSHIP:
                    raise
                _LOG.info("a rebalance came before the commit, the records are delivered again: %s", error)

    def close(self) -> None:
        self._consumer.close()


def _settle(consumer: Any, offsets: list[TopicPartition]) -> None:
    _raise_first_error(consumer.commit(offsets=offsets, asynchronous=False))


def _raise_first_error(places: list[Any]) -> None:
    for place in places:
        if place.error is not None:
            raise KafkaException(place.error)


def _poll(consumer: Any, limit: int, timeout_seconds: float) -> list[Record]:
    first = consumer.poll(timeout_seconds)
    if first is None:
        return []
    # consume() alone would wait the whole time for `limit` messages; after the first, what is there is enough
    messages = [first, *(consumer.consume(limit - 1, 0) if limit > 1 else ())]
    records = []
    for message in messages:
        error = message.error()
        if error is None:
            key, value = decode(message.key(), message.value())
            _, stamp = message.timestamp()
            records.append(Record(message.partition(), message.offset(), key, value, stamp))
        elif error.code() in _PASSING or error.retriable():
            _LOG.info("polling goes on after: %s", error)
        else:
            raise KafkaException(error)
    return records


def _passes(exception: Exception) -> bool:
    if not isinstance(exception, KafkaException):
        return False
    error = exception.args[0]
    return bool(error.retriable() or error.code() in _PASSING)


@contextmanager
def _translated(hosts: str) -> Iterator[None]:
    """Turn confluent-kafka's errors into Hark's."""
    try:
        yield
    except HarkError:
        raise
    except KafkaException as exception:
        error = exception.args[0]
        if error.code() in _NO_ENTRY:
            raise SettingsError(f"Kafka at {hosts} does not let us in: {error.str()}") from exception
        if error.fatal() or error.code() in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID):
            raise FatalError(
                f"another process is this member of the group, give each its own share: {error.str()}"
            ) from exception
        raise TransientError(f"Kafka at {hosts} is away: {error.str()}") from exception
