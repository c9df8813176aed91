import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { confirmByTyping, startProgress, terminalWidth, wantsColor } from '../../../src/cli/output.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

describe('confirmByTyping', () => {
  /** Asks, and lets `answer` act on the terminal once the question is there. */
  async function ask(answer: (terminal: PassThrough, stop: AbortController) => void): Promise<boolean> {
    const [input, output, stop] = [new PassThrough(), new PassThrough(), new AbortController()]
    output.once('data', () => answer(input, stop))
    return confirmByTyping('Type it:', 'db.example', { signal: stop.signal, input, output })
  }

  test.each([
    ['db.example\n', true],
    ['  db.example \n', true],
    ['yes\n', false],
    ['\n', false],
  ])('%j: %s', async (typed, isConfirmed) => {
    expect(await ask((terminal) => terminal.write(typed))).toBe(isConfirmed)
  })

  test('the end of input declines', async () => {
    expect(await ask((terminal) => terminal.end())).toBe(false)
  })

  test('an interruption throws its reason', async () => {
    const reason = new Error('interrupted')
    await expect(ask((_, stop) => stop.abort(reason))).rejects.toBe(reason)
  })
})

describe('where there is no terminal', () => {
  /** The tests run in a process whose stderr is a pipe. */
  function linesOf(act: (progress: ReturnType<typeof startProgress>) => void, isQuiet: boolean): string {
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    act(startProgress('replay', isQuiet))
    return write.mock.calls.map(([text]) => text).join('')
  }

  test('progress is a line per tenth', () => {
    const lines = linesOf(({ update, stop }) => {
      for (let done = 0; done <= 1_000; done++) update(done, 1_000)
      stop()
    }, false).split('\n')
    expect(lines).toHaveLength(12)
    expect(lines.slice(0, 2)).toEqual(['replay: 0 of 1000', 'replay: 100 of 1000'])
    expect(lines.at(-2)).toBe('replay: 1000 of 1000')
  })

  test('progress of nothing is one line', () => {
    expect(linesOf(({ update }) => update(0, 0), false)).toBe('replay: 0 of 0\n')
  })

  test('and where nobody asked there is none', () => {
    expect(linesOf(({ update }) => update(1, 1), true)).toBe('')
  })

  test('lines have no end and no colour', () => {
    const file = { isTTY: false } as NodeJS.WriteStream
    expect(terminalWidth(file)).toBe(Number.POSITIVE_INFINITY)
    expect(wantsColor(file)).toBe(false)
  })

  test('a terminal that does not know its columns has 80', () => {
    expect(terminalWidth({ isTTY: true, columns: 0 } as NodeJS.WriteStream)).toBe(80)
    expect(terminalWidth({ isTTY: true, columns: 120 } as NodeJS.WriteStream)).toBe(120)
  })
})
