/**
 * What a Kafka broker of tests consists of: the jars of each version with their SHA-256 checksums, so that what runs is what was tested. A
 * list is shorter than what Maven would resolve: what it leaves out is not needed to boot, to serve clients, or for SCRAM, TLS and unsigned
 * tokens. Jars for tokens that an issuer signs and for tiered storage are among that. A logger is added, so that a broker can say why it ended.
 */

/** The versions that can be started: the newest that is supported, and one whose transactions still follow protocol 1. */
export const KAFKA_VERSIONS = ['4.3.1', '3.9.2'] as const

export type KafkaVersion = (typeof KAFKA_VERSIONS)[number]

export interface KafkaArtifacts {
  /** The oldest Java that runs it. */
  readonly javaMin: number
  /** `group:artifact:version` and the SHA-256 of the jar, one a line. */
  readonly jars: string
}

export const KAFKA_ARTIFACTS: Readonly<Record<KafkaVersion, KafkaArtifacts>> = {
  '4.3.1': {
    javaMin: 17,
    jars: `
org.apache.kafka:kafka_2.13:4.3.1 b098abef5ff878e76f60cd6c559b9baa5663ccb1b55f2837558b22c329d32423
org.apache.kafka:kafka-clients:4.3.1 52501b7b47510c66f898871adaf6d2968ab7246561d44ced43643a8a587f0b36
org.apache.kafka:kafka-server:4.3.1 01d736599ec3b0cdbb0480c15219170b28cdae189785e7f0c6f1f26e528eaebc
org.apache.kafka:kafka-server-common:4.3.1 d7c719f749579a399011f0df7414de8a78f10f074a6122caa550fdb141351575
org.apache.kafka:kafka-storage:4.3.1 97e3facddd2914a58f28ec91ef35f8da69963eab3651196e97f487924f6dac98
org.apache.kafka:kafka-storage-api:4.3.1 bc2b22639fa554494461d101d599e01bae840d97c4f46e18fdf3d2fe41a47098
org.apache.kafka:kafka-metadata:4.3.1 4d73a96c6474a4ebdd67a1cee14da1a94cfd6bb9e6e252685ba5667d8ab7f898
org.apache.kafka:kafka-raft:4.3.1 46abbf89806dd22d848e997cdfb1431524cab4ec88e38a7d2806e20b24a70609
org.apache.kafka:kafka-group-coordinator:4.3.1 4ab56d002e1624185c874199e9e0ffb243dbeb9f68b4d0cadf48ce2f617a1126
org.apache.kafka:kafka-group-coordinator-api:4.3.1 d81bc1a3739ff6c9b21815baae00022306342a16d3d94e6a2621201b9980a30d
org.apache.kafka:kafka-coordinator-common:4.3.1 66a86b8c89718216ffa72fe4e44b9d1bdf3472e4cb9200c36a0742a25febbdba
org.apache.kafka:kafka-transaction-coordinator:4.3.1 c64aaa2a88d8fd382c4800204872917686e542043c7916c9e8797d939d8eb313
org.apache.kafka:kafka-share-coordinator:4.3.1 8ceeed7346127e652ea5c650b217890aaff14919f967d27fadce420745bd3066
org.scala-lang:scala-library:2.13.18 4e85d96ff7bc7dc627985523c3541b9917aaa08e956391380c42db21a2c4e5a0
com.typesafe.scala-logging:scala-logging_2.13:3.9.6 0ad0c3f4d89d538b3b6c300158555e266aa69cf1b5f6522aba8b5bad238eb994
com.fasterxml.jackson.core:jackson-databind:2.21.2 8c982f01f148d805f0aaac2339011244757e0df7c6ff8951f2fa3f433b8ed849
com.fasterxml.jackson.core:jackson-core:2.21.2 12e8655b100267b44d0f14d01b1f5082a5105e616174dc4307be1a761e92407b
com.fasterxml.jackson.core:jackson-annotations:2.21 53ca085f4a150f703f49e1aabd935bd03b43e1ea3d55d135438292af22cef56b
com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.21.2 d25551812fa0c14f37cabaa9401e63eadcea42ce36311183af5622d5bc8a1bc7
org.apache.logging.log4j:log4j-api:2.25.4 c4b642a7f047275215de117e0e3847eb2c7711d84a0aa7433e7b3c096daf341d
org.apache.logging.log4j:log4j-core:2.25.4 10fee2c0485d54fa44ee75d314f6295508f7b932281873db61a91b88073200e6
org.slf4j:slf4j-api:1.7.36 d3ef575e3e4979678dc01bf1dcce51021493b4d11fb7f1be8ad982877c16a1c0
com.yammer.metrics:metrics-core:2.2.0 6b7a14a6f34c10f8683f7b5e2f39df0f07b58c7dff0e468ebbc713905c46979c
net.sf.jopt-simple:jopt-simple:5.0.4 df26cc58f235f477db07f753ba5a3ab243ebe5789d9f89ecf68dd62ea9a66c28
net.sourceforge.argparse4j:argparse4j:0.7.0 65ceb669d88f63306c680f8088bbf765bbca72d288a61a03703000076c3d3f56
org.pcollections:pcollections:4.0.2 2bbeef5797a241300c4f7513cd546239629ed7deda4fc0c31df90bb95f5f13ef
org.hdrhistogram:HdrHistogram:2.2.2 22d1d4316c4ec13a68b559e98c8256d69071593731da96136640f864fa14fad8
com.google.re2j:re2j:1.8 7b52c72156dd7f98b3237a5b35c1d34fba381b21048c89208913ad80a45dfbd7
commons-validator:commons-validator:1.10.1 ed74711a78d793ca37f6075e4a1e93d107233dfd20d0bb17e32bad88d38e56aa
org.xerial.snappy:snappy-java:1.1.10.7 4c766cb3f855415ee734b2392949a0b6f12a60879334a74518deaf6270d32e36
at.yawk.lz4:lz4-java:1.10.2 252dabd586d22149a31661a8afc1a50747714eb1a298bd4a6e780c8c91a13866
com.github.luben:zstd-jni:1.5.6-10 b6c3237e24b8252a5a9c3a0e1ae30ef8f323412e74bd358548b7a9e527d676df
org.apache.logging.log4j:log4j-slf4j-impl:2.25.4 7ac68a0afcc83d54f48d116d79370a43f0a2a6b71b5c1d6dda943bb6a95ddbaa
`,
  },
  '3.9.2': {
    javaMin: 11,
    jars: `
org.apache.kafka:kafka_2.13:3.9.2 dddf49b18c931301fece0048a76d6b0956c36c8b1d1fc721bfed318aa6ee3e4f
org.apache.kafka:kafka-clients:3.9.2 014b4ef36884478a932641818b080c36a8f8e2e92dc771e800c9d2694f4f83d8
org.apache.kafka:kafka-server:3.9.2 4f8667dbd664c4b0906e05499cfdc5f558f14c098b77fa6c09656cceb62a63ef
org.apache.kafka:kafka-server-common:3.9.2 0374b3f13c3c4b7fd446d35df1ccb0c60931ea27d4972b4de1bb1d548a87f5b2
org.apache.kafka:kafka-storage:3.9.2 8a3d7b67dfcd34b1334d4994ed4106ba9c9b37ebcbb177ac47ff44050e8ab84b
org.apache.kafka:kafka-storage-api:3.9.2 565ab8540b50c7f00ea62c77a6639237ed3a80550245be70dc733f157cd280d6
org.apache.kafka:kafka-metadata:3.9.2 ffe970aee12f00df4b0162f31c719df7c412f9207c166a74cef6611be25a255e
org.apache.kafka:kafka-raft:3.9.2 f897533828e55ac466a5b183a25dccbe5a7b97c02162dac38e25338feddfe422
org.apache.kafka:kafka-group-coordinator:3.9.2 d4d57f0955895cc38381f346f5ff7eba487afafa5ba264804af18393305b32fd
org.apache.kafka:kafka-group-coordinator-api:3.9.2 bd903ba506c8309401a331ef1b826612d1cb95862879551031428da5cf50eab6
org.apache.kafka:kafka-transaction-coordinator:3.9.2 d6ca25648111dfd11f76d3d0f7f51a9458784b645f4e56ce34fbc58d9c9d0296
org.apache.zookeeper:zookeeper:3.8.4 2d77b152039e7f85dc5438a9304febff86a2f3e55c88976a8be309af39028e97
com.github.ben-manes.caffeine:caffeine:2.9.3 1e0a7bbef1dd791653143f3f05d0e489934bf5481e58a87c9e619cd46b68729b
org.scala-lang:scala-library:2.13.15 8e4dbc3becf70d59c787118f6ad06fab6790136a0699cd6412bc9da3d336944e
org.scala-lang.modules:scala-java8-compat_2.13:1.0.2 90d5b13656be93fb779b8d7c723efa2498a34af06273bb5204afb65f85a20c1b
com.typesafe.scala-logging:scala-logging_2.13:3.9.5 87a3017d3f43e6ace7566fe4c3d615134c6914ff871c8d64bb32ca1d996d0545
com.fasterxml.jackson.core:jackson-databind:2.16.2 53b6025d98c357068296e4b134242443a248c2c582800879f1c4ea93b54bafa6
com.fasterxml.jackson.core:jackson-core:2.16.2 4f43e2f1430b2d2413e8e5a3d79138e57e891d6a961b18c28ac90859639d8664
com.fasterxml.jackson.core:jackson-annotations:2.16.2 d1cdd269ebaa753d1842933194e17d61958f058952d63e03dbfb3d1d78a6926e
com.fasterxml.jackson.module:jackson-module-scala_2.13:2.16.2 1154f6dc8643739c0c3ef4c2a7901ca752b5cca7ebe1908d405ced701a8f3764
com.fasterxml.jackson.datatype:jackson-datatype-jdk8:2.16.2 3e9b1b59f638b487b5ae0e2f4190fc98f72b0bf661324e7dfc71a69f6b9d4e29
com.fasterxml.jackson.dataformat:jackson-dataformat-csv:2.16.2 01a04610def154c50369e8bcd7c5ae1401579f591aa55e88f05093447e24d490
org.slf4j:slf4j-api:1.7.36 d3ef575e3e4979678dc01bf1dcce51021493b4d11fb7f1be8ad982877c16a1c0
org.slf4j:slf4j-reload4j:1.7.36 ae6fdd5c9547896114d5ec7fa7503733b7d2890573d3886fb548b3119c4d3f67
ch.qos.reload4j:reload4j:1.2.25 e71115175c4b080cf51dd72097165ea001ff9fafdc4f79d88049d0b1ecca979c
com.yammer.metrics:metrics-core:2.2.0 6b7a14a6f34c10f8683f7b5e2f39df0f07b58c7dff0e468ebbc713905c46979c
net.sf.jopt-simple:jopt-simple:5.0.4 df26cc58f235f477db07f753ba5a3ab243ebe5789d9f89ecf68dd62ea9a66c28
net.sourceforge.argparse4j:argparse4j:0.7.0 65ceb669d88f63306c680f8088bbf765bbca72d288a61a03703000076c3d3f56
org.pcollections:pcollections:4.0.1 1f82766d7c3221930854033bebff5073ea46b43f27326074bbe15d148c18bfb3
commons-validator:commons-validator:1.10.1 ed74711a78d793ca37f6075e4a1e93d107233dfd20d0bb17e32bad88d38e56aa
org.xerial.snappy:snappy-java:1.1.10.5 0f3f1857ed33116583f480b4df5c0218836c47bfbc9c6221c0d73f356decf37b
at.yawk.lz4:lz4-java:1.10.1 a58a84c4271e50df4c96ed916ccb7e48a869f8ed9cdcda1ad5d3d4c33b0214a3
com.github.luben:zstd-jni:1.5.6-4 793ca8734aa15687e7e64564eab8b6ae9ee2720eae27aa663074682144b1c386
`,
  },
}
