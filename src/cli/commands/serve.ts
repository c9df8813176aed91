import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { isValidNsid } from '@atproto/syntax'
import { type Command, InvalidArgumentError } from 'commander'
import { ConfigError, EXIT } from '../../errors.ts'
import type { AppView } from '../../events.ts'
import {
  createFunctions,
  createInngest,
  databaseRequests,
  type ReadinessCheck,
  type RequestStore,
  serveFunctions,
} from '../../inngest/index.ts'
import { blobsOf } from '../blobs.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openNetwork, openProduction } from '../context.ts'
import { inngestOptions, pointLimitsOf } from '../engine.ts'
import { examples, passwordFileOption } from '../options.ts'
import { say } from '../output.ts'
import { loginsOf, sessionsOf } from '../sessions.ts'

interface ServeCommandOptions {
  port: number
  host: string
  appPasswordFile?: string
  collections?: string[]
}

type ServeContext = Pick<CliContext, 'config' | 'logger' | 'network'>

export const serveCommand: DefineCommand = (program: Command, done) => {
  program
    .command('serve')
    .description('Serve the Inngest functions, for those who have no app of their own to mount them in.')
    .option('--port <port>', 'port to listen on', parsePort, 3939)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option(
      '--collections <nsids>',
      'collections that may be written, with commas between them (else those that a restore writes)',
      parseCollections,
    )
    .addOption(passwordFileOption())
    .addHelpText('after', examples('serve --port 3939 --app-password-file FILE'))
    .action(async (options: ServeCommandOptions) => {
      const context = await openNetwork(options)
      const { inngest, functions, readiness } = await functionsOf(context, options)
      const { port, host } = options
      const served = await serveFunctions({
        inngest,
        functions,
        port,
        host,
        readiness,
        logger: context.logger,
      })
      say(`Serving ${served.url}; register this address with Inngest.`)
      const stop = new AbortController()
      try {
        await Promise.race(
          ['SIGINT', 'SIGTERM'].map((signal) => once(process, signal, { signal: stop.signal })),
        )
      } finally {
        stop.abort()
        await served[Symbol.asyncDispose]()
      }
      done(EXIT.complete)
    })
}

async function functionsOf(context: ServeContext, { collections, appPasswordFile }: ServeCommandOptions) {
  const { config, network, logger } = context
  const inngest = createInngest({ ...inngestOptions(config), logger })
  const requests = requestsOf(context)
  const functions = createFunctions({
    inngest,
    sessionProvider: sessionsOf(context, appPasswordFile),
    network,
    blobs: await blobsOf(context),
    writableCollections: collections ?? restoredCollections(config.appview),
    pointLimits: pointLimitsOf(config),
    logger,
    ...(requests === undefined ? {} : { requests }),
  })
  const readiness = [
    sessionCheck(context, appPasswordFile),
    ...(requests === undefined ? [] : [databaseCheck(requests)]),
  ]
  return { inngest, functions, readiness }
}

/** Those whose records live in the tables that a restore begins with: no other is written by one. */
function restoredCollections({ handlers, roots }: AppView): string[] {
  const tables = new Set(roots.map(({ table }) => table))
  return handlers.filter(({ derives: [own] }) => tables.has(own.table)).map(({ collection }) => collection)
}

/** Large requests are in the appview's database, where one is configured. */
function requestsOf({ config }: ServeContext): RequestStore | undefined {
  return config.get('productionUrl') === undefined ? undefined : databaseRequests(openProduction(config))
}

function databaseCheck(requests: RequestStore): ReadinessCheck {
  return { name: 'database', check: () => requests.check() }
}

/** Whether there is a session to be had at all; whether it is alive shows with each account. */
function sessionCheck(context: ServeContext, passwordFile: string | undefined): ReadinessCheck {
  const { config } = context
  const isGiven =
    passwordFile !== undefined ||
    config.get('appPassword') !== undefined ||
    config.sessionProvider !== undefined
  return {
    name: 'sessions',
    async check() {
      if (isGiven || (await hasLogin(loginsOf(context).folder.path))) return
      throw new ConfigError(
        'there is no app password, no session provider in the configuration, and nobody has logged in with `login`',
      )
    },
  }
}

async function hasLogin(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).some((name) => name.endsWith('.json'))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
    throw error
  }
}

function parsePort(value: string): number {
  const port = Number(value)
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new InvalidArgumentError('It is not a port number.')
}

function parseCollections(value: string): string[] {
  const collections = value.split(',').map((name) => name.trim())
  const wrong = collections.find((name) => !isValidNsid(name))
  if (wrong === undefined) return collections
  throw new InvalidArgumentError(`${JSON.stringify(wrong)} is not the name of a collection (an NSID).`)
}
