/** The retail topology stopped, killed and started again: its feed goes on where it was, and every fact is applied once. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { APPLIED, csvIn, inFolder, RIGHT, Session, whole } from './rig.ts'
import { SHIPPED, unpacked } from './shuffle.ts'

test('a run that is stopped in the middle goes on where it was, and another rerun applies nothing', async () => {
  await inFolder(async (dir) => {
    let applied = 0
    const first = await Session.begin(dir, { seed: '4' })
    const stop = new AbortController()
    const fed = first.feed.run(stop.signal)
    while (first.feed.done < 4_000) await new Promise((resolve) => setImmediate(resolve))
    stop.abort()
    await fed
    expect(first.feed.done).toBeLessThan(first.feed.total)
    await first.close()
    applied += first.count('applied')

    const second = await whole(dir, { seed: '4' })
    expect(second.check.figures).toMatchObject(RIGHT)
    applied += second.count('applied')
    expect([applied, second.facts]).toEqual([APPLIED, APPLIED])

    const third = await whole(dir, { seed: '4' })
    expect(third.check.figures).toMatchObject(RIGHT)
    expect([third.count('records_in'), third.count('applied'), third.facts]).toEqual([0, 0, APPLIED])
  })
})

test('a process that is killed again and again loses nothing and applies nothing twice', async () => {
  await inFolder(async (dir) => {
    for (const rows of [1_500, 4_000, 6_000]) await killedAt(dir, rows)
    const { check, count, facts } = await whole(dir, { seed: '5' })
    expect(check.figures).toMatchObject(RIGHT)
    expect(facts).toBe(APPLIED)
    expect(count('records_in')).toBeGreaterThan(0)
  })
})

/** Starts the program in a process of its own and kills it as soon as its feed has gone through so many rows. */
async function killedAt(dir: string, rows: number): Promise<void> {
  const child: ChildProcess = spawn(execPath, [join(import.meta.dirname, 'retail-child.ts'), dir, '5'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  let seen = 0
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    seen = Number(line)
    if (seen >= rows) child.kill('SIGKILL')
  }
  const [, signal] = (await ended) as [number | null, NodeJS.Signals | null]
  expect([signal, seen < 10_000]).toEqual(['SIGKILL', true])
}

test('state that has to be restored is restored before it is said that everything is applied', async () => {
  await inFolder(async (folder) => {
    const dir = join(folder, 'data')
    const csv = csvIn(folder, ['1,85123A,HEART,6,2010-12-01 08:26:00,2.55,7,UK'])
    const { facts } = await whole(dir, { csv })
    rmSync(join(dir, 'state'), { recursive: true })
    const session = await Session.begin(dir, { csv })
    while (!(await session.running.caughtUp())) await new Promise((resolve) => setImmediate(resolve))
    expect([await session.factsInRows(), session.running.app.ready]).toEqual([facts, true])
    await session.close()
  })
})

test('another file or another seed is refused on a used folder, and leaves it as it was', async () => {
  await inFolder(async (folder) => {
    const csv = csvIn(folder, ['1,85123A,HEART,6,2010-12-01 08:26:00,2.55,7,UK'])
    const other = csvIn(folder, ['1,85123A,HEART,7,2010-12-01 08:26:00,2.55,7,UK'], 'other.csv')
    const dir = join(folder, 'data')
    await whole(dir, { csv, seed: '1' })
    const changed = {
      code: 'INPUT_CHANGED',
      message: 'this directory was filled from another input',
      hint: expect.stringContaining('--dir'),
    }
    await expect(Session.begin(dir, { csv: other, seed: '1' })).rejects.toMatchObject({
      ...changed,
      detail: expect.stringContaining('now it would be other.csv'),
    })
    await expect(Session.begin(dir, { csv, seed: '2' })).rejects.toMatchObject({
      ...changed,
      detail: expect.stringMatching(/invoices\.csv .* with seed 1; .* with seed 2\.$/),
    })
    await expect(Session.begin(dir, { csv })).rejects.toMatchObject({ ...changed, detail: expect.stringContaining('without a seed.') })
    expect(await whole(dir, { csv, seed: '1' })).toMatchObject({ check: { equal: true }, facts: 3 })
  })
})

test('a file that is written while it is fed is found by the check', async () => {
  await inFolder(async (folder) => {
    const csv = csvIn(folder, ['1,85123A,HEART,6,2010-12-01 08:26:00,2.55,7,UK'])
    const session = await Session.begin(join(folder, 'data'), { csv })
    await session.finish()
    csvIn(folder, [])
    await expect(session.feed.check(session.running.app)).rejects.toMatchObject({ code: 'INPUT_CHANGED' })
    await session.close()
  })
})

test('the busiest SKUs are those with the most units ordered, also after a restart', async () => {
  await inFolder(async (dir) => {
    // One of them has a name that would write on the terminal.
    const rows = unpacked(SHIPPED)
      .split('\n')
      .slice(1, 1_501)
      .map((row) => row.replace('BLACK RECORD', 'BLACK\u001b[31mRECORD'))
    const csv = csvIn(dir, rows)
    const first = await Session.begin(join(dir, 'data'), { csv })
    expect(first.feed.highlights()).toEqual([])
    await first.finish()
    const busiest = first.feed.highlights()
    await first.close()
    expect(busiest).toEqual([
      'busiest: 17021         600 units  NAMASTE SWAGAT INCENSE',
      '         21137         480 units  BLACK [31mRECORD COVER FRAME',
      '         21731         465 units  RED TOADSTOOL LED NIGHT LIGHT',
      '         22466         432 units  FAIRY TALE COTTAGE NIGHTLIGHT',
      '         20668         312 units  DISCO BALL CHRISTMAS DECORATION',
    ])
    const again = await Session.begin(join(dir, 'data'), { csv })
    await again.finish()
    expect(again.feed.highlights()).toEqual(busiest)
    await again.close()
  })
})
