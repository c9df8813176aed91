import { describe, expect, test } from 'vitest'
import { assemble, Cleanup, startTogether } from '../../../src/stack/cleanup.ts'

function resource(name: string, log: string[]) {
  return {
    name,
    async [Symbol.asyncDispose]() {
      log.push(name)
    },
  }
}

describe('Cleanup', () => {
  test('runs its steps once, last added first', async () => {
    const log: string[] = []
    const cleanup = new Cleanup()
    cleanup.use(resource('first', log))
    cleanup.defer(() => log.push('second'))
    await cleanup[Symbol.asyncDispose]()
    await cleanup[Symbol.asyncDispose]()
    expect(log).toEqual(['second', 'first'])
  })

  test('runs all steps when some fail, and throws what they threw', async () => {
    const log: string[] = []
    const cleanup = new Cleanup()
    cleanup.use(resource('first', log))
    for (const message of ['a', 'b']) {
      cleanup.defer(() => {
        throw new Error(message)
      })
    }
    await expect(cleanup[Symbol.asyncDispose]()).rejects.toMatchObject({
      errors: [{ message: 'b' }, { message: 'a' }],
    })
    expect(log).toEqual(['first'])
  })

  test('takes no step after it has run', async () => {
    const cleanup = new Cleanup()
    await cleanup[Symbol.asyncDispose]()
    expect(() => cleanup.defer(() => undefined)).toThrow()
  })
})

describe('assemble', () => {
  test('disposes what was started when the rest fails', async () => {
    const log: string[] = []
    const failing = assemble(async (cleanup) => {
      cleanup.use(resource('started', log))
      throw new Error('the rest failed')
    })
    await expect(failing).rejects.toThrow('the rest failed')
    expect(log).toEqual(['started'])
  })

  test('hands the disposal to the result', async () => {
    const log: string[] = []
    const built = await assemble(async (cleanup) => ({ part: cleanup.use(resource('part', log)).name }))
    expect([built.part, log]).toEqual(['part', []])
    await built[Symbol.asyncDispose]()
    expect(log).toEqual(['part'])
  })
})

test('startTogether waits for the slow ones before it throws, so that they are disposed', async () => {
  const log: string[] = []
  const { promise: slow, resolve } = Promise.withResolvers<ReturnType<typeof resource>>()
  const cleanup = new Cleanup()
  const started = startTogether(cleanup, [slow, Promise.reject(new Error('no port'))])
  setImmediate(() => resolve(resource('slow', log)))
  await expect(started).rejects.toThrow('no port')
  await cleanup[Symbol.asyncDispose]()
  expect(log).toEqual(['slow'])
})
