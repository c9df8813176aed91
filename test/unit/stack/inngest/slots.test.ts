import { expect, test } from 'vitest'
import { Slots } from '../../../../src/stack/inngest/slots.ts'

test('lets as many of a key in as the limit says, in order, and other keys past them', async () => {
  const slots = new Slots()
  const log: string[] = []
  const gates = new Map(['a1', 'a2', 'a3', 'b1'].map((name) => [name, Promise.withResolvers<void>()]))
  const work = (key: string, name: string) =>
    slots.hold(key, 1, async () => {
      log.push(name)
      await gates.get(name)?.promise
    })
  const all = [work('a', 'a1'), work('a', 'a2'), work('a', 'a3'), work('b', 'b1')]
  await Promise.resolve()
  expect(log).toEqual(['a1', 'b1'])
  gates.get('a1')?.resolve()
  await all[0]
  await new Promise(setImmediate)
  expect(log).toEqual(['a1', 'b1', 'a2'])
  for (const gate of gates.values()) gate.resolve()
  await Promise.all(all)
  expect(log).toEqual(['a1', 'b1', 'a2', 'a3'])
})

test('work that throws gives its slot back', async () => {
  const slots = new Slots()
  const failing = slots.hold('a', 1, () => Promise.reject(new Error('no')))
  const next = slots.hold('a', 1, async () => 'next')
  await expect(failing).rejects.toThrow('no')
  await expect(next).resolves.toBe('next')
})
