/** Letters for one reader: in order, none lost, and a reason at the end. */
import { expect, test } from 'vitest'
import { Mailbox } from '../../src/base/mailbox.ts'

const { signal } = new AbortController()

test('letters come in the order in which they were put, to who waits and to who comes later', async () => {
  const taken: number[] = []
  const mailbox = new Mailbox<number>('a test', (letter) => void taken.push(letter))
  const first = mailbox.next(signal)
  for (const letter of [1, 2, 3]) mailbox.put(letter)
  // Taken is what was given to its reader, not what was put.
  expect(taken).toEqual([1])
  expect([await first, await mailbox.next(signal), await mailbox.next(signal)]).toEqual([1, 2, 3])
  expect(taken).toEqual([1, 2, 3])
})

test('its end is heard after what was put before, by every reader, and the first reason counts', async () => {
  const mailbox = new Mailbox<number>('a test')
  mailbox.put(1)
  mailbox.end(new Error('first'))
  mailbox.end(new Error('second'))
  mailbox.put(2)
  expect(await mailbox.next(signal)).toBe(1)
  for (let i = 0; i < 2; i++) await expect(mailbox.next(signal)).rejects.toThrow('first')
})

test('who waits hears the end at once, and what was not read can be thrown away', async () => {
  const mailbox = new Mailbox<number>('a test')
  const waiting = mailbox.next(signal)
  mailbox.end(new Error('over'))
  await expect(waiting).rejects.toThrow('over')
  const cleared = new Mailbox<number>('a test')
  cleared.put(1)
  cleared.clear()
  cleared.put(2)
  expect(await cleared.next(signal)).toBe(2)
})

test('waiting ends by its signal and takes no letter with it; a second waiter is a mistake of its caller', async () => {
  const mailbox = new Mailbox<number>('a test')
  const stop = new AbortController()
  const waiting = mailbox.next(stop.signal)
  await expect(mailbox.next(signal)).rejects.toThrow(new TypeError('a test has one waiter at a time'))
  stop.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  await expect(mailbox.next(stop.signal)).rejects.toThrow('enough')
  mailbox.put(1)
  expect(await mailbox.next(signal)).toBe(1)
})
