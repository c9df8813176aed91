import { createInterface } from 'node:readline/promises'
import { Presets, SingleBar } from 'cli-progress'

/** Data goes to stdout, everything for people to stderr. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Colours only where a terminal shows them and nobody declined (https://no-color.org). */
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

/** Asks for a word to be typed; true when it was. Only to be called where there is a terminal. */
export async function confirmByTyping(question: string, word: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await terminal.question(`${question} `)).trim() === word
  } finally {
    terminal.close()
  }
}

/** Columns of the terminal; 80 where there is none. */
export function terminalWidth(): number {
  return process.stdout.columns ?? 80
}
