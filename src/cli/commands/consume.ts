import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, InvalidArgumentError } from 'commander'
import { readCursors, saveCursor } from '../../database/cursors.ts'
import { EXIT, messageOf, shouldRetry } from '../../errors.ts'
import { EVENT_OUTCOMES, type OutcomeCounts } from '../../events.ts'
import { delayBefore } from '../../firehose/live/connection.ts'
import { consumeFirehose, type Gap, type LiveStatus, newLiveStatus } from '../../firehose/live.ts'
import { Indexer } from '../../indexer/indexer.ts'
import { ranksOf } from '../../restore/write.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { indexerTunablesOf, type LiveCommandOptions, liveOptions, liveTunablesOf } from '../live-options.ts'
import { liveAnswers } from '../live-sources.ts'
import { createMetrics, lagSeconds, lagSeqs, type Metrics } from '../metrics.ts'
import { serveMetrics } from '../metrics-server.ts'
import { examples } from '../options.ts'
import { say } from '../output.ts'
import { waitingCounts } from '../waiting-counts.ts'

interface ConsumeOptions extends LiveCommandOptions {
  metricsPort?: number
  metricsHost: string
}

export const consumeCommand: DefineCommand = (program: Command, done) => {
  const command = program
    .command('consume')
    .description('Index the live firehose; the cursor is kept in the database. Ends on SIGINT or SIGTERM.')
    .option('--metrics-port <port>', 'serve /metrics (Prometheus) and /healthz', parsePort)
    .option('--metrics-host <host>', 'address to serve them on', '127.0.0.1')
  for (const option of liveOptions()) command.addOption(option)
  command
    .addHelpText(
      'after',
      examples('consume', 'consume --relay wss://relay.example', 'consume --metrics-port 9464'),
    )
    .action(async (options: ConsumeOptions) => {
      const context = await openContext(options)
      await openCatalog(context)
      const stop = new AbortController()
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
      const { savedSeq } = await consume(context, options, stop.signal)
      say(
        savedSeq === undefined
          ? 'Stopped before anything came.'
          : `Stopped; the cursor is saved at ${savedSeq}.`,
      )
      done(EXIT.complete)
    })
}

/** One run of the command: what its consumers, one after the other where the database was away, have in common. */
interface Run {
  context: CliContext
  /** Relay or PDS, as its cursor is kept: the same address however it is written. */
  service: string
  options: ConsumeOptions
  status: LiveStatus
  indexer: Indexer | undefined
  /** Events of all replays that its consumers have begun. */
  replayed: OutcomeCounts
  /** What the last consumer died of, while it is waited to start anew. */
  failure: unknown
  metrics: Metrics | undefined
  signal: AbortSignal
}

async function consume(
  context: CliContext,
  options: ConsumeOptions,
  signal: AbortSignal,
): Promise<LiveStatus> {
  const status = newLiveStatus()
  const service = new URL(context.config.required('relayUrl')).origin
  const run: Run = {
    context,
    service,
    options,
    status,
    indexer: undefined,
    replayed: Object.fromEntries(EVENT_OUTCOMES.map((outcome) => [outcome, 0])) as OutcomeCounts,
    failure: undefined,
    metrics: undefined,
    signal,
  }
  const server = options.metricsPort === undefined ? undefined : await startMetrics(run, options.metricsPort)
  try {
    await keepFollowing(run)
    return status
  } finally {
    await server?.close()
  }
}

/**
 * The consumer gives up when the database or the PLC directory stays away, and its cursor then stands before what was
 * lost: going on from it, after a while, is all that is needed.
 *
 * @throws what does not pass by itself; what failed last when the signal aborts meanwhile
 */
async function keepFollowing(run: Run): Promise<void> {
  const { status, signal, context } = run
  for (let attempt = 0; ; attempt++) {
    const before = status.savedSeq
    try {
      return await followOnce(run)
    } catch (error) {
      if (signal.aborted || !shouldRetry(error)) throw error
      run.failure = error
      if (status.savedSeq !== before) attempt = 0
      const delayMs = delayBefore(attempt)
      context.logger.error({ error: messageOf(error), delayMs }, 'consumer ended; it starts anew')
      say(`${messageOf(error)} Going on in ${Math.ceil(delayMs / 1000)} seconds.`)
      await sleep(delayMs, undefined, { signal }).catch(() => undefined) // Rejects only because of the signal.
      if (signal.aborted) throw error
    }
  }
}

async function followOnce(run: Run): Promise<void> {
  const { context, service, options, status, signal } = run
  const { production, appview, logger, network } = context
  const cursors = await readCursors(production)
  const cursor = cursors.get(service) ?? status.startedAfterSeq
  const gap = gapBefore(service, cursors)
  sayStart(service, cursor, gap)
  const rankOf = ranksOf(context)
  const indexer = new Indexer({ appview, database: production, logger, ...indexerTunablesOf(options) })
  const own = context.openSink?.()
  run.indexer = own === undefined ? indexer : undefined
  run.failure = undefined
  await consumeFirehose({
    service,
    sink: own ?? indexer,
    identity: network.identity,
    isWanted: (collection) => rankOf(collection) !== undefined,
    cursor,
    saveCursor: (seq) => saveCursor(production, service, seq),
    ...liveAnswers(context, service, {
      signal,
      onReplayed: (counts) => {
        for (const outcome of EVENT_OUTCOMES) run.replayed[outcome] += counts[outcome]
      },
    }),
    ...(gap === undefined ? {} : { gap }),
    ...(run.metrics === undefined ? {} : { onFlush: run.metrics.observeFlush }),
    ...liveTunablesOf(options),
    status,
    signal,
    logger,
  })
}

/** Who comes from another relay has missed what passed there since: seqs of one relay mean nothing to the next. */
function gapBefore(service: string, cursors: ReadonlyMap<string, number>): Gap | undefined {
  if (cursors.has(service) || cursors.size === 0) return undefined
  return { from: undefined, to: undefined, reason: 'other-relay' }
}

function sayStart(service: string, cursor: number | undefined, gap: Gap | undefined): void {
  say(`Following ${service} ${cursor === undefined ? 'from now on' : `from ${cursor}`}.`)
  if (gap !== undefined)
    say('Another relay was followed before: what passed since then is looked for in the repos.')
}

async function startMetrics(run: Run, port: number) {
  const { context, options, status } = run
  run.metrics = createMetrics({
    status,
    outcomes: () => run.indexer?.counts,
    replayed: () => run.replayed,
    waiting: waitingCounts(context),
  })
  const server = await serveMetrics({
    host: options.metricsHost,
    port,
    metrics: run.metrics,
    health: () => ({
      ok: status.isConnected && run.failure === undefined,
      connected: status.isConnected,
      cursor: status.savedSeq,
      lagSeconds: lagSeconds(status),
      lagSeqs: lagSeqs(status),
      ...(run.failure === undefined ? {} : { error: messageOf(run.failure) }),
    }),
  })
  say(`Metrics: ${server.url}/metrics`)
  return server
}

function parsePort(value: string): number {
  const port = Number(value)
  if (Number.isInteger(port) && port >= 0 && port < 65_536) return port
  throw new InvalidArgumentError('It is not a port.')
}
