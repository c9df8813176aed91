import { InvalidArgumentError, Option } from 'commander'
import { ConfigError } from '../errors.ts'

export interface ReplayCommandOptions {
  did: string
  source: 'repo' | 'relay'
  cursor?: number
  until?: number
  collections?: readonly string[]
  prune?: true
  yes?: string
  acceptOlderRev?: true
  maxRepoSize?: number
  dryRun?: true
  json?: true
}

/** The options of `replay` that no other command has. */
export function replayOptions(): Option[] {
  return [
    new Option('--source <source>', "the account's repo, or its slice of a relay's firehose")
      .choices(['repo', 'relay'])
      .default('repo'),
    new Option('--cursor <seq>', 'with --source relay: where the window begins').argParser(parseSeq),
    new Option(
      '--until <seq>',
      'with --source relay: where it ends (else with what the relay has now)',
    ).argParser(parseSeq),
    new Option('--collections <list>', 'only these collections, separated by commas').argParser(parseList),
    new Option(
      '--prune',
      'also delete rows of the account that its repo no longer has; shown and confirmed first',
    ),
    new Option('--yes <production>', 'confirm --prune without asking: the name of production'),
    new Option('--accept-older-rev', 'the repo has gone back and is right as it is: let it decide'),
    new Option(
      '--max-repo-size <size>',
      'refuse a larger repository, as 500MB or 2GiB (default: 1GiB)',
    ).argParser(parseSize),
  ]
}

/** @throws ConfigError where options do not go together */
export function checkReplayOptions(options: ReplayCommandOptions): void {
  const { source, cursor, until } = options
  if (source === 'relay' && cursor === undefined) {
    throw new ConfigError('--source relay needs --cursor: where the window begins.', {
      hint: "Give the seq of a frame from before the records were written, as your consumer's saved cursor.",
    })
  }
  if (source === 'repo' && (cursor !== undefined || until !== undefined)) {
    throw new ConfigError('--cursor and --until are about a relay, not a repo.', {
      hint: 'Add --source relay, or leave them out: a repo is replayed as a whole.',
    })
  }
  if (cursor !== undefined && until !== undefined && until < cursor) {
    throw new ConfigError(`The window would end at ${until}, before it begins at ${cursor}.`, {
      hint: 'Give a greater --until, or leave it out.',
    })
  }
  const ofRepo = { '--prune': options.prune, '--accept-older-rev': options.acceptOlderRev }
  const misplaced = Object.entries(ofRepo).find(([, isGiven]) => source === 'relay' && isGiven)
  if (misplaced === undefined) return
  throw new ConfigError(`${misplaced[0]} needs the whole repo, which a window of a relay is not.`, {
    hint: 'Leave out --source relay.',
  })
}

function parseSeq(value: string): number {
  const seq = Number(value)
  if (/^\d+$/.test(value) && Number.isSafeInteger(seq)) return seq
  throw new InvalidArgumentError('It is not a number of the firehose, as 1234567 is.')
}

function parseList(value: string): string[] {
  return value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1000,
  kib: 1024,
  mb: 1000 ** 2,
  mib: 1024 ** 2,
  gb: 1000 ** 3,
  gib: 1024 ** 3,
}

function parseSize(value: string): number {
  const [, digits, unit] = /^(\d+)\s*([a-z]*)$/i.exec(value) ?? []
  const factor = UNITS[unit?.toLowerCase() ?? '-']
  const bytes = Number(digits) * (factor ?? Number.NaN)
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes
  throw new InvalidArgumentError('It is not a size, as 500MB or 2GiB is.')
}
