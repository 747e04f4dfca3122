/** Kafka's protocol as far as the driver speaks it: one file an API, its layout as the comment. Named re-exports only. */
export { type AddOffsetsToTxnRequest, type AddOffsetsToTxnResponse, addOffsetsToTxn } from './add-offsets-to-txn.ts'
export { type AddPartitionsToTxnRequest, type AddPartitionsToTxnResponse, addPartitionsToTxn } from './add-partitions-to-txn.ts'
export { type Api, newestVersion } from './api.ts'
export {
  type ApiVersionRange,
  type ApiVersionsRequest,
  type ApiVersionsResponse,
  apiVersions,
  type FinalizedFeature,
  type SupportedFeature,
} from './api-versions.ts'
export { APIS } from './apis.ts'
export { NO_UUID, WireReader, WireWriter } from './bytes.ts'
export {
  CONSUMER_PROTOCOL_TYPE,
  type ConsumerAssignment,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  type Subscription,
} from './consumer-protocol.ts'
export {
  type CreatedConfig,
  type CreatedTopic,
  type CreateTopicsRequest,
  type CreateTopicsResponse,
  createTopics,
  type NamedValue,
  type NewTopic,
  type ReplicaAssignment,
} from './create-topics.ts'
export {
  type DeletedRecords,
  type DeleteRecordsPartitionRequest,
  type DeleteRecordsRequest,
  type DeleteRecordsResponse,
  type DeleteRecordsTopic,
  type DeleteRecordsTopicRequest,
  deleteRecords,
} from './delete-records.ts'
export {
  type DeletedTopic,
  type DeleteTopicsRequest,
  type DeleteTopicsResponse,
  deleteTopics,
  type TopicToDelete,
} from './delete-topics.ts'
export {
  BROKER_RESOURCE,
  type ConfigResource,
  type ConfigSynonym,
  type DescribeConfigsRequest,
  type DescribeConfigsResponse,
  type DescribedConfig,
  type DescribedResource,
  describeConfigs,
  TOPIC_RESOURCE,
} from './describe-configs.ts'
export {
  type DescribedGroup,
  type DescribedMember,
  type DescribeGroupsRequest,
  type DescribeGroupsResponse,
  describeGroups,
} from './describe-groups.ts'
export {
  type ActiveProducer,
  type DescribedProducers,
  type DescribeProducersRequest,
  type DescribeProducersResponse,
  type DescribeProducersTopic,
  describeProducers,
} from './describe-producers.ts'
export {
  type DescribedTransaction,
  type DescribeTransactionsRequest,
  type DescribeTransactionsResponse,
  describeTransactions,
} from './describe-transactions.ts'
export { type EndTxnRequest, type EndTxnResponse, endTxn } from './end-txn.ts'
export { KAFKA_ERROR, KAFKA_ERRORS, type KafkaError, type KafkaErrorName, kafkaError } from './errors.ts'
export {
  type AbortedRange,
  type FetchPartition,
  type FetchPartitionRequest,
  type FetchRequest,
  type FetchResponse,
  type FetchTopic,
  type FetchTopicRequest,
  fetch,
} from './fetch.ts'
export {
  type Coordinator,
  type FindCoordinatorRequest,
  type FindCoordinatorResponse,
  findCoordinator,
  GROUP_COORDINATOR,
  TRANSACTION_COORDINATOR,
} from './find-coordinator.ts'
export {
  correlationIdOf,
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeRequestParts,
  encodeResponse,
  type RequestHeader,
  readRequestHeader,
} from './framing.ts'
export { type HeartbeatRequest, type HeartbeatResponse, heartbeat } from './heartbeat.ts'
export {
  type ChangedResource,
  type ConfigChange,
  DELETE_CONFIG,
  type IncrementalAlterConfigsRequest,
  type IncrementalAlterConfigsResponse,
  incrementalAlterConfigs,
  type ResourceChange,
  SET_CONFIG,
} from './incremental-alter-configs.ts'
export { type InitProducerIdRequest, type InitProducerIdResponse, initProducerId } from './init-producer-id.ts'
export { type JoinGroupMember, type JoinGroupProtocol, type JoinGroupRequest, type JoinGroupResponse, joinGroup } from './join-group.ts'
export { type LeaveGroupRequest, type LeaveGroupResponse, type LeavingMember, type LeftMember, leaveGroup } from './leave-group.ts'
export {
  EARLIEST,
  LATEST,
  type ListOffsetsPartition,
  type ListOffsetsPartitionRequest,
  type ListOffsetsRequest,
  type ListOffsetsResponse,
  type ListOffsetsTopic,
  type ListOffsetsTopicRequest,
  listOffsets,
  MAX_TIMESTAMP,
} from './list-offsets.ts'
export {
  type ListedTransaction,
  type ListTransactionsRequest,
  type ListTransactionsResponse,
  listTransactions,
} from './list-transactions.ts'
export {
  type MetadataBroker,
  type MetadataPartition,
  type MetadataRequest,
  type MetadataResponse,
  type MetadataTopic,
  type MetadataTopicRequest,
  metadata,
} from './metadata.ts'
export { type OffsetCommitRequest, type OffsetCommitResponse, offsetCommit } from './offset-commit.ts'
export {
  type OffsetFetchGroup,
  type OffsetFetchGroupRequest,
  type OffsetFetchPartition,
  type OffsetFetchRequest,
  type OffsetFetchResponse,
  type OffsetFetchTopic,
  offsetFetch,
} from './offset-fetch.ts'
export {
  CLIENT_REPLICA,
  type CommittedPartition,
  type CommittedTopic,
  type CurrentLeader,
  type PartitionResult,
  READ_COMMITTED,
  READ_UNCOMMITTED,
  type TopicPartitions,
  type TopicResults,
} from './parts.ts'
export {
  type NodeEndpoint,
  type ProducePartition,
  type ProducePartitionRequest,
  type ProduceRequest,
  type ProduceResponse,
  type ProduceTopic,
  type ProduceTopicRequest,
  produce,
  type RecordError,
} from './produce.ts'
export { type MemberAssignment, type SyncGroupRequest, type SyncGroupResponse, syncGroup } from './sync-group.ts'
export { type TxnOffsetCommitRequest, type TxnOffsetCommitResponse, txnOffsetCommit } from './txn-offset-commit.ts'
