// Kafka's own clients, run through the recording proxy of java.ts: one pass over what the driver does, too.
// Arguments: bootstrap, transaction protocol, a name for this run. Or "errors", which prints Kafka's error table. Or "layouts" and names of
// messages, which prints the layouts that Kafka's code is made from, one a line.

import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.*;

public class JavaClients {
    interface Call { Object run() throws Exception; }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("errors")) {
            for (Errors error : Errors.values()) {
                System.out.println(error.code() + " " + error.name() + " " + (error.exception() instanceof RetriableException));
            }
            return;
        }
        if (args[0].equals("layouts")) {
            for (String message : List.of(args).subList(1, args.length)) {
                try (InputStream layout = Errors.class.getResourceAsStream("/common/message/" + message + ".json")) {
                    String text = new String(layout.readAllBytes(), StandardCharsets.UTF_8);
                    System.out.println(text.replaceAll("(?m)^\\s*//.*$", "").replaceAll("\\s+", " "));
                }
            }
            return;
        }
        String bootstrap = args[0];
        String run = args[2];
        String in = "java-in-" + run;
        String out = "java-out-" + run;
        String group = "java-group-" + run;
        String transactionalId = "java-tx-" + run;
        TopicPartition first = new TopicPartition(in, 0);

        Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        admin.createTopics(List.of(new NewTopic(in, 2, (short) 1), new NewTopic(out, 1, (short) 1).configs(Map.of("cleanup.policy", "compact"))))
            .all().get();
        refused(() -> admin.createTopics(List.of(new NewTopic(in, 2, (short) 1))).all().get());
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, out);
        admin.describeConfigs(List.of(topic)).all().get();
        AlterConfigOp longer = new AlterConfigOp(new ConfigEntry("delete.retention.ms", "70000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(topic, List.of(longer))).all().get();
        admin.describeTopics(List.of(in, out)).allTopicNames().get();
        refused(() -> admin.describeTopics(List.of("missing-" + run)).allTopicNames().get());

        try (Producer<String, String> producer = new KafkaProducer<>(producing(bootstrap), new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < 20; i++) producer.send(new ProducerRecord<>(in, i % 2, "key-" + i, "value-" + i));
            producer.flush();
        }

        Map<String, Object> settings = producing(bootstrap);
        settings.put("transactional.id", transactionalId);
        Producer<String, String> producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        Consumer<String, String> consumer = consuming(bootstrap, group, null);
        Consumer<String, String> other = consuming(bootstrap, group, "slot-1");
        consumer.subscribe(List.of(in));
        int records = 0;
        for (int i = 0; i < 60 && records < 10; i++) {
            if (i == 3) other.subscribe(List.of(in));
            if (i >= 3) other.poll(Duration.ofMillis(50));
            ConsumerRecords<String, String> read = consumer.poll(Duration.ofMillis(100));
            records += read.count();
            if (i < 3 || read.isEmpty()) continue;
            producer.beginTransaction();
            for (ConsumerRecord<String, String> record : read) producer.send(new ProducerRecord<>(out, record.key(), record.value()));
            producer.flush();
            admin.describeTransactions(List.of(transactionalId)).all().get();
            admin.describeProducers(List.of(new TopicPartition(out, 0))).all().get();
            producer.sendOffsetsToTransaction(Map.of(first, new OffsetAndMetadata(3)), consumer.groupMetadata());
            producer.commitTransaction();
        }
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(out, "aborted", "value"));
        producer.flush();
        admin.listTransactions().all().get();
        producer.abortTransaction();
        for (int i = 0; i < 200 && (other.assignment().isEmpty() || i < 10); i++) {
            consumer.poll(Duration.ofMillis(50));
            other.poll(Duration.ofMillis(50));
        }
        for (MemberDescription member : admin.describeConsumerGroups(List.of(group)).all().get().get(group).members()) {
            System.out.println(member.clientId() + " " + member.groupInstanceId() + " " + member.assignment());
        }
        consumer.commitSync();
        refused(() -> admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("nobody")))).all().get());
        consumer.close();
        other.close();
        admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("slot-1")))).all().get();
        producer.close();

        try (Consumer<String, String> reader = consuming(bootstrap, group + "-reader", null)) {
            reader.assign(List.of(new TopicPartition(out, 0)));
            reader.seekToBeginning(reader.assignment());
            for (int i = 0; i < 3; i++) reader.poll(Duration.ofMillis(200));
            reader.offsetsForTimes(Map.of(new TopicPartition(out, 0), 1L));
        }
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(1, Optional.of(0), "by hand"))).all().get();
        admin.listOffsets(Map.of(first, OffsetSpec.maxTimestamp())).all().get();
        admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(2))).all().get();
        refused(() -> admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(2000))).all().get());
        admin.deleteTopics(List.of(in, out)).all().get();
        refused(() -> admin.deleteTopics(List.of("missing-" + run)).all().get());
        admin.close();
        System.out.println("protocol " + args[1] + ": " + records + " records read");
    }

    private static Map<String, Object> producing(String bootstrap) {
        return new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 5));
    }

    private static Consumer<String, String> consuming(String bootstrap, String group, String instance) {
        Map<String, Object> settings = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap,
            "group.id", group,
            "group.protocol", "classic",
            "enable.auto.commit", "false",
            "auto.offset.reset", "earliest",
            "isolation.level", "read_committed",
            "max.poll.records", "5",
            "heartbeat.interval.ms", "100",
            "client.id", instance == null ? "dynamic" : instance));
        if (instance != null) settings.put("group.instance.id", instance);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private static void refused(Call call) throws Exception {
        try {
            call.run();
        } catch (ExecutionException expected) {
            return;
        }
        throw new IllegalStateException("this should have been refused");
    }
}
