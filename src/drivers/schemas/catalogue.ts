/**
 * Schemas with stable ids in one JSON file that is committed with the code: `{ "format": 1, "schemas": [{ id, subject, schema }] }`.
 *
 * Promised: the file is replaced in one step, whole or not at all; entries are only added, in order of their ids; two writers never
 * give one id to two schemas, for the new file is also their lock. Not promised: that an entry removed by hand is missed, so never
 * remove one: data that was written with it could no longer be read, and its id would be given away again.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { AvroSchema } from '../../base/avro.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { SchemaStore } from '../../ports/serde.ts'
import { type CatalogueEntry, entryKey, ID_MAX, printCatalogue, readCatalogue } from './file.ts'

export interface CatalogueOptions {
  /** Usually `schemas/catalogue.json`. */
  readonly file: string
  /** Whether new schemas may be added, and the file made. False where an application runs on what was built. */
  readonly writable: boolean
  /** The least id that a new schema gets. Default 1. Apart from another catalogue's, two of them can be layers. */
  readonly firstId?: number
  /**
   * Whether no other process writes the file, because something else guards its folder. What a process that died left of a write is then
   * written over, instead of being taken for another writer's. Default false.
   */
  readonly guarded?: boolean
}

interface Content {
  readonly entries: readonly CatalogueEntry[]
  readonly byId: ReadonlyMap<number, AvroSchema>
  readonly ids: ReadonlyMap<string, number>
}

/** Registrations of this process, one after the other for each file. */
const queues = new Map<string, Promise<unknown>>()

/** @example schemaCatalogue({ file: 'schemas/catalogue.json', writable: false }) */
export function schemaCatalogue({ file, writable, firstId = 1, guarded = false }: CatalogueOptions): SchemaStore {
  let content: Content | undefined

  async function read(): Promise<Content> {
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' && writable) return undefined
      throw failed(
        file,
        'the schema catalogue cannot be read',
        error,
        error.code === 'ENOENT' ? 'Run "tidemark types" to make it.' : undefined,
      )
    })
    const entries = text === undefined ? [] : readCatalogue(file, text)
    content = {
      entries,
      byId: new Map(entries.map(({ id, schema }) => [id, schema])),
      ids: new Map(entries.map(({ id, subject, schema }) => [entryKey(subject, schema), id])),
    }
    return content
  }

  /** From what was read before, and once more from the file, which another process may have added to. */
  async function ask<T>(question: (content: Content) => T | undefined): Promise<T | undefined> {
    return (content === undefined ? undefined : question(content)) ?? question(await read())
  }

  async function find(subject: string, schema: AvroSchema): Promise<number | undefined> {
    const key = entryKey(subject, schema)
    return ask(({ ids }) => ids.get(key))
  }

  async function register(subject: string, schema: AvroSchema): Promise<number> {
    const replacement = `${file}.tmp`
    await mkdir(dirname(file), { recursive: true })
    const handle = await open(replacement, guarded ? 'w' : 'wx').catch((error: NodeJS.ErrnoException) => {
      const hint = error.code === 'EEXIST' ? 'Another process is writing the catalogue. If none is, one died: remove this file.' : undefined
      throw failed(replacement, 'the schema catalogue cannot be written', error, hint)
    })
    let published = false
    try {
      const { entries, ids } = await read()
      const known = ids.get(entryKey(subject, schema))
      if (known !== undefined) return known
      const id = Math.max(firstId, (entries.at(-1)?.id ?? 0) + 1)
      if (id > ID_MAX) throw new TidemarkError('SCHEMA_SOURCE_FAILED', 'the schema catalogue has no id left', { detail: `${file}.` })
      await handle.writeFile(printCatalogue([...entries, { id, subject, schema }]))
      await handle.sync()
      await handle.close()
      await rename(replacement, file)
      published = true
      content = undefined
      await syncFolder(dirname(file))
      return id
    } catch (error) {
      throw error instanceof TidemarkError ? error : failed(file, 'the schema catalogue cannot be written', error as Error)
    } finally {
      await handle.close()
      // After the rename a file of this name is another writer's.
      if (!published) await rm(replacement, { force: true })
    }
  }

  return {
    writable,
    find,
    byId: (id) => ask(({ byId }) => byId.get(id)),
    async idOf(subject, schema) {
      const known = await find(subject, schema)
      if (known !== undefined) return known
      if (!writable) {
        throw new TidemarkError('SCHEMA_UNREGISTERED', `the schema of "${subject}" is not in the catalogue`, {
          detail: `${file} has no entry for it as it is now, and is only read here.`,
          hint: 'Run "tidemark types" and commit what it writes.',
        })
      }
      const path = resolve(file)
      const before = queues.get(path) ?? Promise.resolve()
      const registered = before.catch(() => undefined).then(() => register(subject, schema))
      queues.set(path, registered)
      return registered.finally(() => {
        if (queues.get(path) === registered) queues.delete(path)
      })
    },
  }
}

/** Makes the rename survive a power cut, as the records that name the new id do. Not every system opens folders; there it is skipped. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}

function failed(file: string, message: string, error: Error, hint?: string): TidemarkError {
  return new TidemarkError('SCHEMA_SOURCE_FAILED', message, { detail: `${file}: ${messageOf(error)}.`, hint, cause: error })
}
