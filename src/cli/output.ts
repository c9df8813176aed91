import { once } from 'node:events'
import { createInterface } from 'node:readline/promises'
import { Presets, SingleBar } from 'cli-progress'
import type { Report } from '../report/report.ts'
import { renderReport } from '../report/terminal.ts'

/** Data goes to stdout, everything for people to stderr. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

/** The report on stdout, as JSON or for reading. */
export function printReport(report: Report, isJson: boolean): void {
  if (isJson) {
    printJson(report)
    return
  }
  const color = wantsColor(process.stdout)
  process.stdout.write(`${renderReport(report, { color, width: terminalWidth(process.stdout) })}\n`)
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Colours only where a terminal shows them and nobody declined (https://no-color.org; `hasColors` asks). */
export function wantsColor(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && stream.hasColors()
}

export interface Progress {
  update(done: number, total: number): void
  stop(): void
}

/** A bar in a terminal, a line per tenth elsewhere; nothing where output is not wanted. */
export function startProgress(label: string, isQuiet = false): Progress {
  if (isQuiet) return { update: () => undefined, stop: () => undefined }
  return process.stderr.isTTY ? barProgress(label) : lineProgress(label)
}

function barProgress(label: string): Progress {
  const bar = new SingleBar(
    {
      format: `${label.padEnd(22)} {bar} {value}/{total}`,
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: false,
    },
    Presets.shades_classic,
  )
  let isStarted = false
  return {
    update(done, total) {
      if (!isStarted) bar.start(total, 0)
      isStarted = true
      bar.setTotal(total)
      bar.update(done)
    },
    stop() {
      if (isStarted) bar.stop()
      isStarted = false
    },
  }
}

function lineProgress(label: string): Progress {
  let lastTenth = -1
  return {
    update(done, total) {
      const tenth = total === 0 ? 10 : Math.floor((done / total) * 10)
      if (tenth <= lastTenth) return
      lastTenth = tenth
      say(`${label}: ${done} of ${total}`)
    },
    stop: () => undefined,
  }
}

export interface Prompt {
  /** Its reason is thrown when it aborts before there is an answer. */
  signal: AbortSignal
  /** @defaultValue process.stdin */
  input?: NodeJS.ReadableStream
  /** @defaultValue process.stderr */
  output?: NodeJS.WritableStream
}

/**
 * Asks for a word to be typed; true when it was, false for anything else, the end of input and Ctrl-C included. Only
 * to be called where there is a terminal.
 */
export async function confirmByTyping(question: string, word: string, prompt: Prompt): Promise<boolean> {
  const { signal, input = process.stdin, output = process.stderr } = prompt
  const terminal = createInterface({ input, output })
  // Without a listener Ctrl-C only pauses the input, and the question is never settled.
  terminal.once('SIGINT', () => terminal.close())
  const closed = once(terminal, 'close').then(() => undefined)
  try {
    const answer = await Promise.race([terminal.question(`${question} `, { signal }), closed])
    if (answer === undefined) output.write('\n')
    return answer?.trim() === word
  } catch (error) {
    output.write('\n')
    signal.throwIfAborted()
    // Ctrl-D.
    if (error instanceof Error && error.name === 'AbortError') return false
    throw error
  } finally {
    terminal.close()
  }
}

/**
 * Columns of the terminal; 80 for one that does not know, as under `script` or in CI. A file or pipe has no end of
 * line: an AT-URI that is cut cannot be searched for.
 */
export function terminalWidth(stream: NodeJS.WriteStream): number {
  return stream.isTTY ? stream.columns || 80 : Number.POSITIVE_INFINITY
}
