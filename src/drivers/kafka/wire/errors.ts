/**
 * Kafka's error numbers, as of 4.3: their names, whether a later try of the same request may succeed, and a plain sentence for people.
 * "Later" may mean elsewhere: where the leader or the coordinator is wrong, it has to be found again first. `retriable` is the judgement
 * of Kafka's own client; what an error means for a transaction, a group or a position is the driver's to decide, API by API.
 */

type Row = readonly [number: number, retriable: boolean, sentence: string]

const TABLE = {
  UNKNOWN_SERVER_ERROR: [-1, false, 'the broker failed in a way that it has no word for; its log says more'],
  NONE: [0, false, 'no error'],
  OFFSET_OUT_OF_RANGE: [1, false, 'the offset lies before the first record kept, or behind the last'],
  CORRUPT_MESSAGE: [2, true, 'the checksum, the size or the key of a record batch is wrong'],
  UNKNOWN_TOPIC_OR_PARTITION: [3, true, 'the broker does not have this topic or partition, or this client may not know of it'],
  INVALID_FETCH_SIZE: [4, false, 'the number of bytes asked for is not valid'],
  LEADER_NOT_AVAILABLE: [5, true, 'the partition has no leader at the moment'],
  NOT_LEADER_OR_FOLLOWER: [6, true, 'the broker does not lead this partition'],
  REQUEST_TIMED_OUT: [7, true, 'the brokers did not finish the request in time'],
  BROKER_NOT_AVAILABLE: [8, false, 'the broker is not available'],
  REPLICA_NOT_AVAILABLE: [9, true, 'the replica is not available on this broker'],
  MESSAGE_TOO_LARGE: [10, false, 'a record batch is larger than max.message.bytes allows'],
  STALE_CONTROLLER_EPOCH: [11, false, 'the controller has moved to another broker'],
  OFFSET_METADATA_TOO_LARGE: [12, false, 'the metadata kept with a position is too large'],
  NETWORK_EXCEPTION: [13, true, 'the connection was lost before the answer came'],
  COORDINATOR_LOAD_IN_PROGRESS: [14, true, 'the coordinator is still reading its own log'],
  COORDINATOR_NOT_AVAILABLE: [15, true, 'there is no coordinator at the moment'],
  NOT_COORDINATOR: [16, true, 'the broker is not the coordinator of this group or transactional id'],
  INVALID_TOPIC_EXCEPTION: [17, false, 'the topic has a name that is not allowed, or is internal'],
  RECORD_LIST_TOO_LARGE: [18, false, 'a record batch is larger than a segment of the topic'],
  NOT_ENOUGH_REPLICAS: [19, true, 'fewer replicas are in sync than min.insync.replicas demands; nothing was written'],
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: [20, true, 'the records were written, but to fewer replicas than min.insync.replicas demands'],
  INVALID_REQUIRED_ACKS: [21, false, 'acks is neither -1, 0 nor 1'],
  ILLEGAL_GENERATION: [22, false, 'the group has gone on to another generation'],
  INCONSISTENT_GROUP_PROTOCOL: [23, false, 'the group speaks another protocol than this member'],
  INVALID_GROUP_ID: [24, false, 'the group id is not valid'],
  UNKNOWN_MEMBER_ID: [25, false, 'the group does not count this member among its own'],
  INVALID_SESSION_TIMEOUT: [26, false, 'the session timeout lies outside of the limits that the broker sets'],
  REBALANCE_IN_PROGRESS: [27, false, 'the group is rebalancing; join again'],
  INVALID_COMMIT_OFFSET_SIZE: [28, false, 'the positions to commit are too large for one record'],
  TOPIC_AUTHORIZATION_FAILED: [29, false, 'this client lacks a right on the topic'],
  GROUP_AUTHORIZATION_FAILED: [30, false, 'this client lacks a right on the group'],
  CLUSTER_AUTHORIZATION_FAILED: [31, false, 'this client lacks a right on the cluster'],
  INVALID_TIMESTAMP: [32, false, 'the timestamp of a record is out of the range that the topic allows'],
  UNSUPPORTED_SASL_MECHANISM: [33, false, 'the broker does not offer this SASL mechanism'],
  ILLEGAL_SASL_STATE: [34, false, 'the request is not expected in this state of the login'],
  UNSUPPORTED_VERSION: [35, false, 'the broker does not speak this version of the request'],
  TOPIC_ALREADY_EXISTS: [36, false, 'a topic of this name exists'],
  INVALID_PARTITIONS: [37, false, 'the number of partitions is not valid'],
  INVALID_REPLICATION_FACTOR: [38, false, 'the replication factor is below 1 or above the number of brokers'],
  INVALID_REPLICA_ASSIGNMENT: [39, false, 'the replicas are not assigned as they must be'],
  INVALID_CONFIG: [40, false, 'a setting is not valid'],
  NOT_CONTROLLER: [41, true, 'the broker is not the controller'],
  INVALID_REQUEST: [42, false, 'the broker cannot make sense of the request; its log says more'],
  UNSUPPORTED_FOR_MESSAGE_FORMAT: [43, false, 'the format of the stored records does not allow this request'],
  POLICY_VIOLATION: [44, false, 'a policy of the cluster forbids this'],
  OUT_OF_ORDER_SEQUENCE_NUMBER: [45, false, 'a batch does not follow the one that its producer wrote before'],
  DUPLICATE_SEQUENCE_NUMBER: [46, false, 'a batch was already written'],
  INVALID_PRODUCER_EPOCH: [47, false, 'a newer producer has taken over this id, or the transaction was ended for its age'],
  INVALID_TXN_STATE: [48, false, 'the transaction is not in a state that allows this'],
  INVALID_PRODUCER_ID_MAPPING: [49, false, 'the producer id does not belong to this transactional id'],
  INVALID_TRANSACTION_TIMEOUT: [50, false, 'the transaction timeout is longer than transaction.max.timeout.ms allows'],
  CONCURRENT_TRANSACTIONS: [51, true, 'the last transaction of this producer is still being ended'],
  TRANSACTION_COORDINATOR_FENCED: [52, false, 'another broker coordinates this transaction by now'],
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: [53, false, 'this client lacks a right on the transactional id'],
  SECURITY_DISABLED: [54, false, 'the broker has no authorizer'],
  OPERATION_NOT_ATTEMPTED: [55, false, 'this part was not tried, because another part of the request failed'],
  KAFKA_STORAGE_ERROR: [56, true, "the broker's disk failed"],
  LOG_DIR_NOT_FOUND: [57, false, 'the broker has no such log directory'],
  SASL_AUTHENTICATION_FAILED: [58, false, 'the login was refused'],
  UNKNOWN_PRODUCER_ID: [59, false, 'the partition no longer remembers this producer'],
  REASSIGNMENT_IN_PROGRESS: [60, false, 'the partition is being moved to other brokers'],
  DELEGATION_TOKEN_AUTH_DISABLED: [61, false, 'the broker does not take delegation tokens'],
  DELEGATION_TOKEN_NOT_FOUND: [62, false, 'the broker does not know the delegation token'],
  DELEGATION_TOKEN_OWNER_MISMATCH: [63, false, 'the delegation token belongs to somebody else'],
  DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: [64, false, 'delegation tokens cannot be asked for on this connection'],
  DELEGATION_TOKEN_AUTHORIZATION_FAILED: [65, false, 'this client lacks a right on the delegation token'],
  DELEGATION_TOKEN_EXPIRED: [66, false, 'the delegation token has expired'],
  INVALID_PRINCIPAL_TYPE: [67, false, 'the broker does not know this kind of principal'],
  NON_EMPTY_GROUP: [68, false, 'the group still has members'],
  GROUP_ID_NOT_FOUND: [69, false, 'the group does not exist'],
  FETCH_SESSION_ID_NOT_FOUND: [70, true, 'the broker does not know the fetch session'],
  INVALID_FETCH_SESSION_EPOCH: [71, true, 'the fetch session is at another epoch'],
  LISTENER_NOT_FOUND: [72, true, 'the leader does not listen where this broker was asked'],
  TOPIC_DELETION_DISABLED: [73, false, 'the cluster does not let topics be deleted'],
  FENCED_LEADER_EPOCH: [74, true, 'the partition has a newer leader than this client knows'],
  UNKNOWN_LEADER_EPOCH: [75, true, 'this client knows a newer leader than the broker does'],
  UNSUPPORTED_COMPRESSION_TYPE: [76, false, 'the compression of the records is not supported'],
  STALE_BROKER_EPOCH: [77, false, 'the broker has been started again since'],
  OFFSET_NOT_AVAILABLE: [78, true, 'a new leader does not know the end of its log yet'],
  MEMBER_ID_REQUIRED: [79, false, 'join again with the member id that came with this answer'],
  PREFERRED_LEADER_NOT_AVAILABLE: [80, true, 'the preferred leader is not available'],
  GROUP_MAX_SIZE_REACHED: [81, false, 'the group has as many members as it may have'],
  FENCED_INSTANCE_ID: [82, false, 'another process has taken over the name of this static member'],
  ELIGIBLE_LEADERS_NOT_AVAILABLE: [83, true, 'no replica may become the leader'],
  ELECTION_NOT_NEEDED: [84, true, 'the partition has the right leader already'],
  NO_REASSIGNMENT_IN_PROGRESS: [85, false, 'the partition is not being moved'],
  GROUP_SUBSCRIBED_TO_TOPIC: [86, false, 'the group still reads the topic'],
  INVALID_RECORD: [87, false, 'a record is not valid, such as one without a key in a compacted topic'],
  UNSTABLE_OFFSET_COMMIT: [88, true, 'an open transaction is about to change the position'],
  THROTTLING_QUOTA_EXCEEDED: [89, true, 'a quota is used up'],
  PRODUCER_FENCED: [90, false, 'a newer producer has taken over the transactional id'],
  RESOURCE_NOT_FOUND: [91, false, 'the thing that the request names does not exist'],
  DUPLICATE_RESOURCE: [92, false, 'the request names the same thing twice'],
  UNACCEPTABLE_CREDENTIAL: [93, false, 'the password or the number of iterations is not acceptable'],
  INCONSISTENT_VOTER_SET: [94, false, 'the controllers disagree on who they are'],
  INVALID_UPDATE_VERSION: [95, false, 'the version to update to is not valid'],
  FEATURE_UPDATE_FAILED: [96, false, 'the features of the cluster could not be changed'],
  PRINCIPAL_DESERIALIZATION_FAILURE: [97, false, 'the brokers disagree on who this client is'],
  SNAPSHOT_NOT_FOUND: [98, false, 'the snapshot does not exist'],
  POSITION_OUT_OF_RANGE: [99, false, 'the position lies outside of the snapshot'],
  UNKNOWN_TOPIC_ID: [100, true, 'the broker does not have a topic of this id'],
  DUPLICATE_BROKER_REGISTRATION: [101, false, 'a broker of this number is running already'],
  BROKER_ID_NOT_REGISTERED: [102, false, 'there is no broker of this number'],
  INCONSISTENT_TOPIC_ID: [103, true, 'the topic has another id: it was deleted and made again'],
  INCONSISTENT_CLUSTER_ID: [104, false, 'this is another cluster'],
  TRANSACTIONAL_ID_NOT_FOUND: [105, false, 'the coordinator does not know the transactional id'],
  FETCH_SESSION_TOPIC_ID_ERROR: [106, true, 'the fetch session mixes names and ids of topics'],
  INELIGIBLE_REPLICA: [107, false, 'a replica may not be counted as in sync'],
  NEW_LEADER_ELECTED: [108, false, 'the partition got a new leader meanwhile'],
  OFFSET_MOVED_TO_TIERED_STORAGE: [109, false, 'the records were moved to tiered storage'],
  FENCED_MEMBER_EPOCH: [110, false, 'the group has given the partitions of this member away'],
  UNRELEASED_INSTANCE_ID: [111, false, 'another member still holds this instance id'],
  UNSUPPORTED_ASSIGNOR: [112, false, 'the group does not know this assignor'],
  STALE_MEMBER_EPOCH: [113, false, 'the group is at a newer epoch than this member'],
  MISMATCHED_ENDPOINT_TYPE: [114, false, 'the request went to a controller instead of a broker, or the other way round'],
  UNSUPPORTED_ENDPOINT_TYPE: [115, false, 'the endpoint does not take this request'],
  UNKNOWN_CONTROLLER_ID: [116, false, 'there is no controller of this number'],
  UNKNOWN_SUBSCRIPTION_ID: [117, false, 'the telemetry subscription is not known'],
  TELEMETRY_TOO_LARGE: [118, false, 'the telemetry is larger than the broker takes'],
  INVALID_REGISTRATION: [119, false, 'the controller refuses the registration of the broker'],
  TRANSACTION_ABORTABLE: [120, false, 'the transaction cannot be committed, only aborted'],
  INVALID_RECORD_STATE: [121, false, 'the record is not in a state that allows this'],
  SHARE_SESSION_NOT_FOUND: [122, true, 'the broker does not know the share session'],
  INVALID_SHARE_SESSION_EPOCH: [123, true, 'the share session is at another epoch'],
  FENCED_STATE_EPOCH: [124, false, 'the share group is at another epoch'],
  INVALID_VOTER_KEY: [125, false, 'the controller has another key'],
  DUPLICATE_VOTER: [126, false, 'the controller is a voter already'],
  VOTER_NOT_FOUND: [127, false, 'the controller is not a voter'],
  INVALID_REGULAR_EXPRESSION: [128, false, 'the regular expression is not valid'],
  REBOOTSTRAP_REQUIRED: [129, false, 'what this client knows of the cluster is too old; begin again at the bootstrap brokers'],
  STREAMS_INVALID_TOPOLOGY: [130, false, 'the topology of the streams group is not valid'],
  STREAMS_INVALID_TOPOLOGY_EPOCH: [131, false, 'the topology epoch of the streams group is not valid'],
  STREAMS_TOPOLOGY_FENCED: [132, false, 'the streams group has a newer topology'],
  SHARE_SESSION_LIMIT_REACHED: [133, true, 'the broker has as many share sessions as it may have'],
} as const

export type KafkaErrorName = keyof typeof TABLE

export interface KafkaError {
  readonly code: number
  /** Kafka's own name, or `UNKNOWN_ERROR_n` for a number newer than this table. */
  readonly name: string
  /** A later try of the same request, at the right broker, may succeed. */
  readonly retriable: boolean
  /** Without a capital and a full stop, to be put behind a colon. */
  readonly sentence: string
}

const ROWS = Object.entries(TABLE satisfies Readonly<Record<string, Row>>) as [KafkaErrorName, Row][]
const BY_CODE: ReadonlyMap<number, KafkaError> = new Map(
  ROWS.map(([name, [code, retriable, sentence]]) => [code, { code, name, retriable, sentence }]),
)

/**
 * The numbers by name.
 * @example if (answer.error === KAFKA_ERROR.REBALANCE_IN_PROGRESS) return rejoin()
 */
export const KAFKA_ERROR: Readonly<Record<KafkaErrorName, number>> = Object.fromEntries(
  ROWS.map(([name, [code]]) => [name, code]),
) as Record<KafkaErrorName, number>

/** All errors that are known here. */
export const KAFKA_ERRORS: readonly KafkaError[] = [...BY_CODE.values()]

/** What a number means. One that is not known here is not retried: nobody can say what a second try would do. */
export function kafkaError(code: number): KafkaError {
  return (
    BY_CODE.get(code) ?? {
      code,
      name: `UNKNOWN_ERROR_${code}`,
      retriable: false,
      sentence: `the broker answered error ${code}, which is newer than this version of tidemark`,
    }
  )
}
