/** Where schemas and their ids come from without a registry: a committed file, memory, or several sources in layers. */
export { type CatalogueOptions, schemaCatalogue } from './catalogue.ts'
export { layeredSchemas } from './layered.ts'
export { type MemorySchemasOptions, memorySchemas } from './memory.ts'
