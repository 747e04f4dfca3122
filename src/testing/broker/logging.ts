/** How a broker of tests says what happens: warnings and errors to its standard output, which goes to a file. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { KafkaVersion } from './artifacts.ts'

/** Writes the settings of the logger into a folder. Returns the argument of Java that points to them. */
export async function loggingIn(folder: string, version: KafkaVersion): Promise<string> {
  // Kafka 4 logs with Log4j 2, Kafka 3 with Log4j 1.
  const second = version.startsWith('4')
  const file = join(folder, 'log4j.properties')
  await writeFile(file, second ? LOG4J_2 : LOG4J_1)
  return second ? `-Dlog4j2.configurationFile=${file}` : `-Dlog4j.configuration=file:${file}`
}

const LOG4J_2 = `status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
`

const LOG4J_1 = `log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %m (%c{1})%n
`
