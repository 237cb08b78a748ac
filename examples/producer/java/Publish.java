import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Map;
import java.util.UUID;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** An event in binary mode, with kafka-clients. */
public class Publish {
    static final String TOPIC = System.getenv().getOrDefault("LIVECARD_TOPIC_PREFIX", "") + "activity.events";

    static ProducerRecord<String, String> event(String type, String activityId, String data) {
        var record = new ProducerRecord<>(TOPIC, activityId, data);
        Map.of(
            "content-type", "application/json",
            "ce_specversion", "1.0",
            "ce_id", UUID.randomUUID().toString(), // keep it, and send the same again when in doubt
            "ce_source", "/signup",
            "ce_type", type,
            "ce_subject", activityId,
            "ce_time", Instant.now().toString()
        ).forEach((name, value) -> record.headers().add(name, value.getBytes(StandardCharsets.UTF_8)));
        return record;
    }

    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", System.getenv("LIVECARD_KAFKA"), "acks", "all");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            var event = event("livecard.participant.completed", "966_NGiq", "{\"members\": [\"gp-bob\"]}");
            producer.send(event).get(); // throws when it was not delivered
        }
    }
}
