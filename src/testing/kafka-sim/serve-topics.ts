/** Simulated brokers about themselves and their topics: ApiVersions, Metadata, FindCoordinator, CreateTopics, DescribeConfigs, DeleteRecords. */

import { apiVersions } from '../../drivers/kafka/wire/api-versions.ts'
import { APIS } from '../../drivers/kafka/wire/apis.ts'
import { createTopics } from '../../drivers/kafka/wire/create-topics.ts'
import { deleteRecords } from '../../drivers/kafka/wire/delete-records.ts'
import { describeConfigs } from '../../drivers/kafka/wire/describe-configs.ts'
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import { findCoordinator } from '../../drivers/kafka/wire/find-coordinator.ts'
import { type MetadataTopic, metadata } from '../../drivers/kafka/wire/metadata.ts'
import type { SimKafka, Topic } from './cluster.ts'
import { type Handler, serve } from './handler.ts'

const NOT_ASKED = -(2 ** 31)
const NO_ID = 'AAAAAAAAAAAAAAAAAAAAAA'

function described(kafka: SimKafka, node: number, topic: Topic): MetadataTopic {
  const nodes = kafka.nodeIds
  return {
    error: E.NONE,
    name: topic.name,
    topicId: topic.id,
    internal: false,
    authorizedOperations: NOT_ASKED,
    partitions: topic.partitions.map((partition) => {
      const { leader, epoch } = partition.seenBy(node)
      return {
        error: E.NONE,
        partition: partition.number,
        leaderId: leader,
        leaderEpoch: epoch,
        replicas: nodes,
        inSyncReplicas: nodes,
        offlineReplicas: [],
      }
    }),
  }
}

function unknown(name: string | null): MetadataTopic {
  const error = E.UNKNOWN_TOPIC_OR_PARTITION
  return { error, name, topicId: NO_ID, internal: false, partitions: [], authorizedOperations: NOT_ASKED }
}

export const TOPIC_HANDLERS: readonly (readonly [key: number, handler: Handler])[] = [
  serve(apiVersions, (_, { kafka }) => {
    const level = kafka.protocol === 2 ? 2 : 1
    return {
      error: E.NONE,
      apiKeys: APIS.map(({ key, versions: [minVersion, maxVersion] }) => ({ apiKey: key, minVersion, maxVersion })),
      throttleMs: 0,
      supportedFeatures: [{ name: 'transaction.version', minVersion: 0, maxVersion: 2 }],
      finalizedFeaturesEpoch: 1,
      finalizedFeatures: [{ name: 'transaction.version', maxVersionLevel: level, minVersionLevel: level }],
      zkMigrationReady: undefined,
    }
  }),
  serve(metadata, ({ topics }, { kafka, node }) => ({
    throttleMs: 0,
    brokers: kafka.nodeIds.map((nodeId) => ({ nodeId, ...kafka.addressOf(nodeId), rack: null })),
    clusterId: 'simulated',
    controllerId: node,
    topics: (topics?.map(({ name }) => name) ?? [...kafka.topics.keys()]).map((name) => {
      const topic = kafka.lagging(node, name ?? '') ?? kafka.topics.get(name ?? '')
      return topic === undefined ? unknown(name) : described(kafka, node, topic)
    }),
  })),
  serve(findCoordinator, ({ keyType, keys }, { kafka }) => ({
    throttleMs: 0,
    coordinators: keys.map((key) => {
      const nodeId = kafka.coordinatorOf(keyType, key)
      return { key, nodeId, ...kafka.addressOf(nodeId), error: E.NONE, errorMessage: null }
    }),
  })),
  serve(createTopics, ({ topics }, { kafka }) => ({
    throttleMs: 0,
    topics: topics.map(({ name, partitions, configs }) => {
      const there = kafka.topics.has(name)
      const settings = new Map(configs.map((config) => [config.name, config.value ?? '']))
      const topicId = there ? NO_ID : kafka.createTopic(name, partitions, settings).id
      const error = there ? E.TOPIC_ALREADY_EXISTS : E.NONE
      return { name, topicId, error, errorMessage: null, partitions, replicationFactor: 3, configs: [], configError: undefined }
    }),
  })),
  serve(describeConfigs, ({ resources }, { kafka }) => ({
    throttleMs: 0,
    results: resources.map(({ resourceType, resourceName, configurationKeys }) => {
      const topic = kafka.topics.get(resourceName)
      const wanted = [...(topic?.configs ?? [])].filter(([name]) => configurationKeys?.includes(name) !== false)
      const about = { readOnly: false, source: 1, sensitive: false, synonyms: [], type: 2, documentation: null }
      return {
        error: topic === undefined ? E.UNKNOWN_TOPIC_OR_PARTITION : E.NONE,
        errorMessage: null,
        resourceType,
        resourceName,
        configs: wanted.map(([name, value]) => ({ name, value, ...about })),
      }
    }),
  })),
  serve(deleteRecords, ({ topics }, { kafka, node }) => ({
    throttleMs: 0,
    topics: topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map(({ partition, offset }) => {
        const found = kafka.partition(topic, partition)
        const refused = (error: number) => ({ partition, lowWatermark: -1, error })
        if (found === undefined) return refused(E.UNKNOWN_TOPIC_OR_PARTITION)
        const error = found.refusal(node, -1, true)
        if (error !== E.NONE) return refused(error)
        const before = offset === -1 ? found.end : offset
        if (before > found.end || before < found.start) return refused(E.OFFSET_OUT_OF_RANGE)
        found.trim(before)
        return { partition, lowWatermark: found.start, error: E.NONE }
      }),
    })),
  })),
]
