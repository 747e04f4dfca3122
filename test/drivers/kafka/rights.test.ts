import { kafkaRights } from './rights.ts'

await kafkaRights('4.3.1')
