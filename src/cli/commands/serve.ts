import { once } from 'node:events'
import { type Command, InvalidArgumentError } from 'commander'
import { EXIT } from '../../errors.ts'
import { createInngest, createWriteRecords, serveFunctions } from '../../inngest/index.ts'
import type { DefineCommand } from '../command.ts'
import { openNetwork } from '../context.ts'
import { inngestOptions } from '../engine.ts'
import { examples, passwordFileOption } from '../options.ts'
import { say } from '../output.ts'
import { sessionsOf } from '../sessions.ts'

interface ServeCommandOptions {
  port: number
  host: string
  appPasswordFile?: string
}

export const serveCommand: DefineCommand = (program: Command, done) => {
  program
    .command('serve')
    .description('Serve the Inngest functions, for those who have no app of their own to mount them in.')
    .option('--port <port>', 'port to listen on', parsePort, 3939)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .addOption(passwordFileOption())
    .addHelpText('after', examples('serve --port 3939 --app-password-file FILE'))
    .action(async (options: ServeCommandOptions) => {
      const { config, network, logger } = await openNetwork(options)
      const inngest = createInngest({ ...inngestOptions(config), logger })
      const sessionProvider = sessionsOf({ config, network }, options.appPasswordFile)
      const functions = [createWriteRecords({ inngest, sessionProvider, network, logger })]
      const served = await serveFunctions({ inngest, functions, port: options.port, host: options.host })
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

function parsePort(value: string): number {
  const port = Number(value)
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new InvalidArgumentError('It is not a port number.')
}
