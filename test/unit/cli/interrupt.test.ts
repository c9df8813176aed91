import { afterEach, expect, test, vi } from 'vitest'
import { InterruptedError, interruptible } from '../../../src/cli/interrupt.ts'
import { EXIT } from '../../../src/errors.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

const listeners = () => process.listenerCount('SIGINT') + process.listenerCount('SIGTERM')

test('the first signal aborts with exit code 75, and no listener is left behind', async () => {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const before = listeners()
  const ended = interruptible(async (signal) => {
    expect(listeners()).toBe(before + 2)
    process.emit('SIGTERM', 'SIGTERM')
    signal.throwIfAborted()
  })
  await expect(ended).rejects.toThrow(InterruptedError)
  await expect(ended).rejects.toMatchObject({ exitCode: EXIT.tryLater })
  expect(write.mock.calls.join('')).toMatch(/^SIGTERM: stopping after the batch/)
  expect(listeners()).toBe(before)
})

test('without a signal nothing is in the way', async () => {
  const before = listeners()
  expect(await interruptible(async (signal) => signal.aborted)).toBe(false)
  expect(listeners()).toBe(before)
})
