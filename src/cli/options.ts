import { isValidDid } from '@atproto/syntax'
import { InvalidArgumentError, Option } from 'commander'
import { MISSING_BLOB_POLICIES } from '../pds/blobs/policy.ts'
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

/** Of rows, where `conflictOption` is about records. */
export function rowConflictOption(): Option {
  return new Option('--on-conflict <policy>', 'a row that somebody has changed since the backup')
    .choices(['keep', 'overwrite'])
    .default('keep')
}

export function withParentsOption(): Option {
  return new Option(
    '--with-parents',
    'bring the rows that others need and that are missing, as posts, profiles and domains; never identities',
  )
}

export function includeDerivedOption(): Option {
  return new Option(
    '--include-derived',
    'while the PDS cannot be written: also bring the rows of records that the repo lacks, as the backup has them',
  )
}

export function reviewOption(): Option {
  return new Option(
    '--review <folder>',
    'write every row that would be inserted or set there, as CSV and SQL, for a second pair of eyes',
  )
}

export function yesOption(): Option {
  return new Option(
    '--yes <production>',
    'confirm without asking: the name of production, as the plan prints it',
  )
}

/** May be given several times. */
export function exceptOption(): Option {
  return new Option(
    '--except <uri>',
    'leave this record as its author has it now (again for each)',
  ).argParser(appended)
}

/** May be given several times. */
export function uriOption(): Option {
  return new Option('--uri <uri>', 'only this record (again for each)').argParser(appended)
}

/** May be given several times. */
export function collectionOption(): Option {
  return new Option('--collection <nsid>', 'only records of this collection (again for each)').argParser(
    appended,
  )
}

export function missingBlobsOption(): Option {
  return new Option('--missing-blobs <policy>', 'a record that refers to a blob which cannot be had')
    .choices(MISSING_BLOB_POLICIES)
    .default('refuse-record')
}

function appended(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
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
