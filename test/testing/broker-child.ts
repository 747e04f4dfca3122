/**
 * What a test wants to see another process do. `start`: starts a broker, says which process and where, and waits to be killed. `why`: says why
 * no broker can be started, or `it can`.
 */
import { startKafka, whyNoKafka } from '../../src/testing/broker/index.ts'

if (process.argv[2] === 'why') console.log((await whyNoKafka()) ?? 'it can')
else {
  const kafka = await startKafka()
  console.log(JSON.stringify({ pid: kafka.nodes[0]?.pid, folder: kafka.folder }))
  setInterval(() => {}, 60_000)
}
