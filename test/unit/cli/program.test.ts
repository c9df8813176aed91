import { Command } from 'commander'
import { afterEach, expect, test, vi } from 'vitest'
import type { DefineCommand } from '../../../src/cli/command.ts'
import { createProgram, run } from '../../../src/cli/program.ts'
import { SETTINGS } from '../../../src/config.ts'
import { EXIT, RestoreError, UnavailableError } from '../../../src/errors.ts'

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

/** A program whose one command throws. */
function throwing(error: unknown): readonly DefineCommand[] {
  const define: DefineCommand = (program) => {
    program.command('boom').action(async () => {
      throw error
    })
  }
  return [define]
}

async function outcome(error: unknown): Promise<{ code: number; said: string }> {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const code = await run(['boom'], throwing(error))
  const said = write.mock.calls.map(([text]) => text).join('')
  write.mockRestore()
  return { code, said }
}

test('an error of ours says its hint and ends with its exit code', async () => {
  expect(await outcome(new UnavailableError('Away.', { hint: 'Wait.' }))).toEqual({
    code: EXIT.tryLater,
    said: 'error: Away.\nhint: Wait.\n',
  })
  expect(await outcome(new RestoreError('No.'))).toEqual({ code: EXIT.failed, said: 'error: No.\n' })
})

test('an error that is not ours says no more than its message, and how to get its stack', async () => {
  vi.stubEnv('LOG_LEVEL', 'info')
  const { code, said } = await outcome(new TypeError('x is not a function'))
  expect(code).toBe(EXIT.failed)
  expect(said).toMatch(/^error: x is not a function\nhint: .*LOG_LEVEL=debug.*\n$/)
})

test('LOG_LEVEL=debug shows the stack', async () => {
  vi.stubEnv('LOG_LEVEL', 'debug')
  const { code, said } = await outcome(new TypeError('x is not a function'))
  expect(code).toBe(EXIT.failed)
  expect(said).toMatch(/^error: x is not a function\nTypeError: x is not a function\n {4}at /)
})

test('what is thrown need not be an error', async () => {
  expect(await outcome('enough')).toMatchObject({
    code: EXIT.failed,
    said: expect.stringMatching(/^error: enough\n/),
  })
})

test('every command takes the settings that have a flag, and no secret', () => {
  const flags = Object.values(SETTINGS).flatMap((setting) => ('flag' in setting ? [`--${setting.flag}`] : []))
  for (const command of createProgram(() => undefined).commands) {
    expect(command).toBeInstanceOf(Command)
    expect(command.options.map(({ long }) => long)).toEqual(expect.arrayContaining(flags))
  }
  expect(Object.values(SETTINGS).filter((setting) => 'secret' in setting && 'flag' in setting)).toEqual([])
})
