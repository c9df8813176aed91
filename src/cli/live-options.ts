import { InvalidArgumentError, Option } from 'commander'
import type { LiveOptions } from '../firehose/live.ts'
import type { IndexerOptions } from '../indexer/indexer.ts'

type Tunable<T, K extends keyof T> = { [key in K]?: number }

type LiveTunables = Tunable<
  LiveOptions,
  | 'maxQueuedFrames'
  | 'maxQueuedBytes'
  | 'concurrency'
  | 'saveEveryMs'
  | 'maxReplays'
  | 'maxReplayMs'
  | 'attempts'
  | 'maxFrameBytes'
  | 'maxMessageBytes'
  | 'maxSkippedSeqs'
  | 'handshakeTimeoutMs'
  | 'drainMs'
>
type IndexerTunables = Tunable<IndexerOptions, 'maxBatchEvents' | 'maxBatchChars' | 'flushAfterMs'>

/** What may be set of the consumer and the indexer, as commander parses it. */
export type LiveCommandOptions = LiveTunables & IndexerTunables

interface Bound {
  flags: string
  about: string
  /** As the library has it, for people to read. */
  byDefault: string
}

const LIVE: Readonly<Record<keyof LiveTunables, Bound>> = {
  maxQueuedFrames: {
    flags: '--max-queued-frames <count>',
    about: 'frames that may wait to be handled; with as many, the relay waits',
    byDefault: '1000',
  },
  maxQueuedBytes: {
    flags: '--max-queued-bytes <bytes>',
    about: 'bytes of frames that may wait to be handled',
    byDefault: '67108864',
  },
  concurrency: {
    flags: '--concurrency <accounts>',
    about: 'accounts whose frames are handled at one time',
    byDefault: '64',
  },
  saveEveryMs: {
    flags: '--save-every <ms>',
    about: 'how often what was handled is made durable and the cursor saved, in milliseconds',
    byDefault: '1000',
  },
  maxReplays: {
    flags: '--max-replays <count>',
    about: 'broken repos that are replayed at one time',
    byDefault: '4',
  },
  maxReplayMs: {
    flags: '--replay-timeout <ms>',
    about: 'how long the replay of a broken repo may take until it is left as a dead letter, in milliseconds',
    byDefault: '600000',
  },
  attempts: {
    flags: '--attempts <count>',
    about: 'times that an event is given to handleEvent before it is a dead letter',
    byDefault: '5',
  },
  maxFrameBytes: {
    flags: '--max-frame-bytes <bytes>',
    about: 'a larger frame is not looked into; its repo is replayed',
    byDefault: '5242880',
  },
  maxMessageBytes: {
    flags: '--max-message-bytes <bytes>',
    about: 'a longer message is refused before it is received, and is a gap when it comes again',
    byDefault: '10485760',
  },
  maxSkippedSeqs: {
    flags: '--max-skipped-seqs <count>',
    about: 'a first frame further behind the cursor is a gap: the known accounts are replayed',
    byDefault: '10000',
  },
  handshakeTimeoutMs: {
    flags: '--handshake-timeout <ms>',
    about: 'how long the relay may take to answer a connection, in milliseconds',
    byDefault: '30000',
  },
  drainMs: {
    flags: '--drain-timeout <ms>',
    about: 'how long the end may take after SIGTERM, in milliseconds',
    byDefault: '10000',
  },
}

const INDEXER: Readonly<Record<keyof IndexerTunables, Bound>> = {
  maxBatchEvents: {
    flags: '--batch-events <count>',
    about: 'events that are applied in one transaction',
    byDefault: '500',
  },
  maxBatchChars: {
    flags: '--batch-chars <count>',
    about: 'characters of text in the records of one transaction',
    byDefault: '4000000',
  },
  flushAfterMs: {
    flags: '--flush-after <ms>',
    about: 'how long an event may wait for company before it is applied, in milliseconds',
    byDefault: '50',
  },
}

/** The consumer's bounds and clocks. Only what is given is set: the library's own defaults hold otherwise. */
export function liveOptions(): Option[] {
  return Object.entries({ ...LIVE, ...INDEXER }).map(([name, { flags, about, byDefault }]) => {
    const option = new Option(flags, `${about} (${byDefault})`).argParser(
      name.endsWith('Ms') ? parseMs : parseCount,
    )
    option.attributeName = () => name
    option.helpGroup('Bounds:')
    return option
  })
}

export function liveTunablesOf(options: LiveCommandOptions): LiveTunables {
  return given(options, LIVE)
}

export function indexerTunablesOf(options: LiveCommandOptions): IndexerTunables {
  return given(options, INDEXER)
}

function given<K extends keyof LiveCommandOptions>(
  options: LiveCommandOptions,
  among: Readonly<Record<K, Bound>>,
): { [key in K]?: number } {
  const names = Object.keys(among) as K[]
  return Object.fromEntries(
    names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  ) as { [key in K]?: number }
}

/** Timers hold no more than 31 bits, and would ring at once. */
const MAX_MS = 2_000_000_000

function parseMs(value: string): number {
  const ms = parseCount(value)
  if (ms <= MAX_MS) return ms
  throw new InvalidArgumentError(`It is more than ${MAX_MS}.`)
}

function parseCount(value: string): number {
  const count = Number(value)
  if (Number.isSafeInteger(count) && count > 0) return count
  throw new InvalidArgumentError('It is not a whole number above 0.')
}
