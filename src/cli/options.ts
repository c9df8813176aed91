import { isValidDid } from '@atproto/syntax'
import { InvalidArgumentError, Option } from 'commander'
import { CONFLICT_POLICIES } from '../pds/plan.ts'

/** Where the restoration plan keeps its data; git ignores it. */
export const DEFAULT_SNAPSHOT = 'scripts/backup-data/user-restore-data.json'

export function didOption(): Option {
  return new Option('--did <did>', 'DID of the account').argParser(parseDid).makeOptionMandatory()
}

export function snapshotOption(): Option {
  return new Option('--snapshot <file>', 'snapshot file that `extract` wrote').default(DEFAULT_SNAPSHOT)
}

export function jsonOption(): Option {
  return new Option('--json', 'print one JSON object on stdout')
}

export function dryRunOption(): Option {
  return new Option('--dry-run', 'print what would be done, and do nothing')
}

export function catchUpOption(): Option {
  return new Option('--without-catch-up', 'do not insist that a replay has finished first')
}

export function engineOption(): Option {
  return new Option('--engine <engine>', 'who drives the write: a durable Inngest function, or this process')
    .choices(['inngest', 'local'])
    .default('inngest')
}

export function conflictOption(): Option {
  return new Option('--on-conflict <policy>', 'a record that was created again under a lost key')
    .choices(CONFLICT_POLICIES)
    .default('overwrite')
}

export function passwordFileOption(): Option {
  return new Option(
    '--app-password-file <file>',
    "file of mode 600 with the account's app password (else FIREHOSE_REPLAY_APP_PASSWORD)",
  )
}

/** Command lines to copy, for the end of a command's help. */
export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  firehose-replay ${line}`).join('\n')}`
}

function parseDid(value: string): string {
  if (isValidDid(value)) return value
  throw new InvalidArgumentError('It is not a DID, as did:plc:abc... is.')
}
