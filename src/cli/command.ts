import type { Command } from 'commander'
import type { ExitCode } from '../errors.ts'

/** A command: declares its options, and says through `done` with which code the process ends. */
export type DefineCommand = (program: Command, done: (code: ExitCode) => void) => void
