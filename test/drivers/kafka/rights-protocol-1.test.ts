import { kafkaRights } from './rights.ts'

await kafkaRights('3.9.2')
