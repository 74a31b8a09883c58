import { platformFromState } from '/work/main/deploy/local/platform.ts';
import { applyTopics, principals } from '/work/main/services/adapters/kafka-topics.ts';
import pino from 'pino';
import { kafkaBus } from '/work/main/services/adapters/kafkajs-bus.ts';
const p = await platformFromState('/tmp/rt/platform');
const prefix = `t${Date.now().toString(36)}-`; const centres = ['c1', 'c10'];
await p.kafka.addUsers(principals(centres).map((username) => ({ username, password: `pw-${username}` })));
await applyTopics({ brokers: p.kafka.brokers, ...p.kafka.admin, prefix, centres, partitionsOverride: 4 });
const gw = kafkaBus({ brokers: p.kafka.brokers, username: 'gateway-c1', password: 'pw-gateway-c1', prefix, clientId: 'gw', log: pino({level:'debug'}) });
for (const [g, t] of [['gateway-c1', 'ct.clinical.c10.study-status.v1'], ['gateway-c1', 'ct.clinical.c1.study-available.v1'], ['gateway-c10', 'ct.clinical.c1.study-status.v1']]) {
  console.log(g, t);
  const r = await gw.subscribe({ group: g!, topics: [t!], window: 1 }).then(() => 'subscribed', e => e.message);
  console.log('=====', r);
}
await gw.close();
