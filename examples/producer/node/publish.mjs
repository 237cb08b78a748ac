// An event in structured mode, with kafkajs.
import { randomUUID } from 'node:crypto';
import { Kafka } from 'kafkajs';

const topic = (process.env.LIVECARD_TOPIC_PREFIX ?? '') + 'activity.events';
const kafka = new Kafka({ clientId: 'signup', brokers: process.env.LIVECARD_KAFKA.split(',') });

function event(type, activityId, data) {
  const value = {
    specversion: '1.0',
    id: randomUUID(), // keep it, and send the same again when in doubt
    source: '/signup',
    type,
    subject: activityId,
    time: new Date().toISOString(),
    data,
  };
  const headers = { 'content-type': 'application/cloudevents+json' };
  return { key: activityId, value: JSON.stringify(value), headers };
}

const producer = kafka.producer();
await producer.connect();
const done = event('livecard.participant.completed', '966_NGiq', { members: ['gp-bob'] });
await producer.send({ topic, acks: -1, messages: [done] }); // acks -1: all replicas
await producer.disconnect();
