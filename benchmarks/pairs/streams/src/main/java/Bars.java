import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.Stores;

/** Bars from ticks, exactly once, as Kafka Streams' own guide writes them. */
public final class Bars {
  public record Tick(long time, String ticker, double close, double volume) {}

  public record Bar(
      String time, String ticker, double open, double high, double low, double close, double volume) {
    Bar add(Tick tick) {
      return new Bar(
          time,
          tick.ticker(),
          volume == 0 ? tick.close() : open,
          Math.max(high, tick.close()),
          Math.min(low, tick.close()),
          tick.close(),
          volume + tick.volume());
    }

    Bar at(long start) {
      String when = Instant.ofEpochMilli(start).toString();
      return new Bar(when, ticker, open, high, low, close, volume);
    }
  }

  private static final ObjectMapper JSON = new ObjectMapper();

  private static <T> Serde<T> json(Class<T> kind) {
    return Serdes.serdeFrom(
        (topic, value) -> {
          try {
            return value == null ? null : JSON.writeValueAsBytes(value);
          } catch (IOException error) {
            throw new IllegalStateException(error);
          }
        },
        (topic, bytes) -> {
          try {
            return bytes == null ? null : JSON.readValue(bytes, kind);
          } catch (IOException error) {
            throw new IllegalStateException(error);
          }
        });
  }

  private static Bar empty() {
    return new Bar(null, null, 0, -Double.MAX_VALUE, Double.MAX_VALUE, 0, 0);
  }

  public static void main(String[] arguments) throws InterruptedException {
    String servers = arguments[0], source = arguments[1], target = arguments[2];
    StreamsBuilder builder = new StreamsBuilder();
    Duration length = Duration.ofSeconds(Long.parseLong(arguments[3]));
    builder.stream(
            source,
            Consumed.with(Serdes.String(), json(Tick.class))
                .withTimestampExtractor((record, last) -> ((Tick) record.value()).time()))
        .groupByKey()
        .windowedBy(TimeWindows.ofSizeWithNoGrace(length))
        .aggregate(
            Bars::empty,
            (ticker, tick, bar) -> bar.add(tick),
            Materialized.<String, Bar>as(
                    Stores.inMemoryWindowStore("bars", length.multipliedBy(3), length, false))
                .withKeySerde(Serdes.String())
                .withValueSerde(json(Bar.class)))
        .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
        .toStream()
        .map((window, bar) -> KeyValue.pair(window.key(), bar.at(window.window().start())))
        .to(target, Produced.with(Serdes.String(), json(Bar.class)));
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, target);
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, servers);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
    settings.put("auto.offset.reset", "earliest");
    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    Thread.currentThread().join();
  }
}
