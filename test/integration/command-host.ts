/**
 * A process that runs one command line after the other, for warm-command.ts: `main` as each process of the command
 * line calls it, on the real stdout and stderr, but with the modules loaded once. To load them takes more processor
 * time than most commands do.
 */

import { main } from '../../src/cli/program.ts'

export interface Asked {
  args: readonly string[]
  /** All that the command sees. */
  env: Record<string, string | undefined>
  cwd: string
  /** Closes what the command has written to stdout, and to stderr. */
  end: string
}

export interface Answer {
  code: number
  /** What it has left running is not to meet another command: ask another process. */
  isLast: boolean
}

const reallyExit = process.exit.bind(process)
let isLast = false

process.on('uncaughtExceptionMonitor', () => {
  isLast = true
})

process.on('disconnect', () => reallyExit(0))
process.on('message', ({ args, env, cwd, end }: Asked) => {
  process.chdir(cwd)
  for (const name of Object.keys(process.env)) delete process.env[name]
  for (const [name, value] of Object.entries(env)) if (value !== undefined) process.env[name] = value
  const forget = rememberListeners()
  const ended = (code?: number | string | null): void => {
    forget()
    process.stdout.write(end)
    process.stderr.write(end)
    process.send?.({ code, isLast })
  }
  // It returns here. Nothing in `main` comes after it, but what an uncaught exception left behind might.
  process.exit = ended as typeof process.exit
  void main(args)
})

/** `main` listens as one does who is about to exit. @returns takes its listeners away */
function rememberListeners(): () => void {
  const forgets = [forgetting(process, 'uncaughtException'), forgetting(process.stdout, 'error')]
  return () => {
    for (const forget of forgets) forget()
  }
}

function forgetting(emitter: NodeJS.EventEmitter, event: string): () => void {
  const before = emitter.listeners(event)
  return () => {
    for (const listener of emitter.listeners(event))
      if (!before.includes(listener)) emitter.off(event, listener as () => void)
  }
}
