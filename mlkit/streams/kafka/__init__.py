"""A log on brokers of the Kafka protocol."""

from mlkit.streams.kafka.log import KafkaLog

__all__ = ["KafkaLog"]
