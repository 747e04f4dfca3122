import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own clients, for what our own must not judge by themselves:
 *
 *   read  BROKERS TOPIC               every committed record, up to what is decided now: partition, offset, key and value in hex, a line each
 *   write BROKERS TOPIC CODEC plain   records from the input (partition, time, key and value in hex, a line each), compressed
 *   write BROKERS TOPIC CODEC aborts  the same in transactions; around each lie two that are aborted, and they overlap
 */
class KafkaClients {
  static final HexFormat HEX = HexFormat.of();
  static final int REQUEST_BYTES_MAX = 32 * 1024 * 1024;
  static final int TRANSACTION_RECORDS = 100;

  public static void main(String[] args) throws Exception {
    switch (args[0] + " " + (args.length > 4 ? args[4] : "")) {
      case "read " -> read(args[1], args[2]);
      case "write plain" -> writePlain(args[1], args[2], args[3]);
      case "write aborts" -> writeAmongAborts(args[1], args[2], args[3]);
      default -> throw new IllegalArgumentException("read BROKERS TOPIC, or write BROKERS TOPIC CODEC plain|aborts");
    }
  }

  static void read(String brokers, String topic) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", brokers);
    settings.put("isolation.level", "read_committed");
    settings.put("enable.auto.commit", "false");
    settings.put("max.partition.fetch.bytes", "4194304");
    settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
    settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
    PrintStream out = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
      List<TopicPartition> partitions = new ArrayList<>();
      consumer.partitionsFor(topic).forEach(each -> partitions.add(new TopicPartition(topic, each.partition())));
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      var ends = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(each -> consumer.position(each) < ends.get(each))) {
        for (var record : consumer.poll(Duration.ofMillis(200))) {
          if (record.offset() >= ends.get(new TopicPartition(topic, record.partition()))) continue;
          out.println(record.partition() + "\t" + record.offset() + "\t" + hex(record.key()) + "\t" + hex(record.value()));
        }
      }
    }
    out.flush();
  }

  static void writePlain(String brokers, String topic, String codec) throws Exception {
    var in = input();
    try (var producer = producer(brokers, codec, null)) {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (String line = in.readLine(); line != null; line = in.readLine()) sent.add(producer.send(record(topic, line)));
      for (var each : sent) each.get();
    }
  }

  static void writeAmongAborts(String brokers, String topic, String codec) throws Exception {
    var in = input();
    String id = "faults-" + ProcessHandle.current().pid();
    try (var good = producer(brokers, codec, id + "-good"); var one = producer(brokers, codec, id + "-one"); var other = producer(brokers, codec, id + "-other")) {
      for (var each : List.of(good, one, other)) each.initTransactions();
      List<String> lines = new ArrayList<>();
      for (String line = in.readLine(); line != null || !lines.isEmpty(); line = in.readLine()) {
        if (line != null) lines.add(line);
        if (line != null && lines.size() < TRANSACTION_RECORDS) continue;
        one.beginTransaction();
        for (String each : lines) one.send(spoiled(topic, each));
        one.flush();
        other.beginTransaction();
        for (String each : lines.subList(0, (lines.size() + 1) / 2)) other.send(spoiled(topic, each));
        other.flush();
        good.beginTransaction();
        for (String each : lines) good.send(record(topic, each));
        // Records of all three lie among one another, and the one that began first ends in the middle.
        one.abortTransaction();
        good.commitTransaction();
        other.abortTransaction();
        lines.clear();
      }
    }
  }

  static BufferedReader input() {
    return new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII), 1 << 16);
  }

  static KafkaProducer<byte[], byte[]> producer(String brokers, String codec, String id) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", brokers);
    settings.put("compression.type", codec);
    settings.put("linger.ms", "5");
    settings.put("batch.size", "65536");
    settings.put("max.request.size", String.valueOf(REQUEST_BYTES_MAX));
    settings.put("buffer.memory", String.valueOf(2L * REQUEST_BYTES_MAX));
    settings.put("key.serializer", ByteArraySerializer.class.getName());
    settings.put("value.serializer", ByteArraySerializer.class.getName());
    if (id != null) settings.put("transactional.id", id);
    return new KafkaProducer<>(settings);
  }

  static ProducerRecord<byte[], byte[]> record(String topic, String line) {
    String[] parts = line.split("\t", -1);
    return new ProducerRecord<>(topic, Integer.parseInt(parts[0]), Long.parseLong(parts[1]), bytes(parts[2]), bytes(parts[3]));
  }

  /** The same place with a key that looks like the start of an abort marker, and a value that is none. */
  static ProducerRecord<byte[], byte[]> spoiled(String topic, String line) {
    String[] parts = line.split("\t", -1);
    return new ProducerRecord<>(topic, Integer.parseInt(parts[0]), Long.parseLong(parts[1]), new byte[4], new byte[] {1, 2, 3});
  }

  static String hex(byte[] bytes) {
    return bytes == null ? "-" : HEX.formatHex(bytes);
  }

  static byte[] bytes(String hex) {
    return hex.equals("-") ? null : HEX.parseHex(hex);
  }
}
