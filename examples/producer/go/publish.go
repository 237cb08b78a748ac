// An event in binary mode, with franz-go.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

var topic = os.Getenv("LIVECARD_TOPIC_PREFIX") + "activity.events"

func event(kind, activityID string, data any) (*kgo.Record, error) {
	value, err := json.Marshal(data)
	record := &kgo.Record{Topic: topic, Key: []byte(activityID), Value: value}
	for _, header := range [][2]string{
		{"content-type", "application/json"},
		{"ce_specversion", "1.0"},
		{"ce_id", uuid.NewString()}, // keep it, and send the same again when in doubt
		{"ce_source", "/signup"},
		{"ce_type", kind},
		{"ce_subject", activityID},
		{"ce_time", time.Now().UTC().Format(time.RFC3339Nano)},
	} {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: header[0], Value: []byte(header[1])})
	}
	return record, err
}

func main() {
	brokers := strings.Split(os.Getenv("LIVECARD_KAFKA"), ",")
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...)) // it waits for all replicas, and tries again
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	done := map[string][]string{"members": {"gp-bob"}}
	record, err := event("livecard.participant.completed", "966_NGiq", done)
	if err != nil {
		log.Fatal(err)
	}
	if err := client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
		log.Fatal(err)
	}
}
