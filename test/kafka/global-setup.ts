/**
 * One Kafka for all files of a run that want the same one. It starts when the first of them asks, so a run of other files pays nothing, and
 * it stops with the run. Files run in processes of their own: they ask over HTTP on the loopback, where this says what `testKafka` found.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { messageOf } from '../../src/base/errors.ts'
import { type KafkaOptions, type TestKafka, testKafka } from '../../src/testing/broker/index.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Where the shared Kafka is asked for. */
    sharedKafkaUrl: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const found = new Map<string, Promise<TestKafka>>()
  const server = createServer((request, response) => {
    const asked = new URL(request.url ?? '/', 'http://shared').searchParams.get('options') ?? '{}'
    const kafka = found.get(asked) ?? testKafka(JSON.parse(asked) as KafkaOptions)
    found.set(asked, kafka)
    kafka.then(
      ({ source, ...rest }) => response.end(JSON.stringify('brokers' in rest ? { source, brokers: rest.brokers } : { source, ...rest })),
      (error: unknown) => response.writeHead(500).end(messageOf(error)),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  project.provide('sharedKafkaUrl', `http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  return async () => {
    await new Promise((resolve) => {
      server.close(resolve)
      server.closeAllConnections()
    })
    for (const kafka of await Promise.allSettled(found.values())) {
      if (kafka.status !== 'fulfilled') continue
      if (kafka.value.source === 'started') await kafka.value.cluster.stop()
      if (kafka.value.source === 'container') await kafka.value.stop()
    }
  }
}
