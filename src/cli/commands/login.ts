import { spawn } from 'node:child_process'
import { type Command, InvalidArgumentError } from 'commander'
import { EXIT } from '../../errors.ts'
import { logIn } from '../../pds/sessions/login.ts'
import type { DefineCommand } from '../command.ts'
import { openNetwork } from '../context.ts'
import { interruptible } from '../interrupt.ts'
import { didOption, examples, jsonOption } from '../options.ts'
import { printJson, say } from '../output.ts'
import { loginsOf } from '../sessions.ts'

interface LoginCommandOptions {
  did: string
  timeout: number
  open?: true
  json?: true
}

export const loginCommand: DefineCommand = (program: Command, done) => {
  program
    .command('login')
    .description(
      "Log in to the account's PDS in a browser on this machine, for `write` and `restore` to use.",
    )
    .addOption(didOption())
    .option('--open', 'open the address in the default browser')
    .option('--timeout <seconds>', 'how long to wait for the browser', parseSeconds, 300)
    .addOption(jsonOption())
    .addHelpText('after', examples('login --did did:plc:abc...'))
    .action(async (options: LoginCommandOptions) => {
      const { config, logger, network } = await openNetwork(options)
      const source = loginsOf({ config, network })
      const { did, scope } = await interruptible((signal) =>
        logIn({
          ...source,
          did: options.did,
          collections: config.appview.handlers.map(({ collection }) => collection),
          timeoutMs: options.timeout * 1000,
          signal,
          logger,
          onUrl: (url) => show(url, options),
        }),
      )
      if (options.json) printJson({ did, scope, folder: source.folder.path })
      else say(`Logged in as ${did}; kept in ${source.folder.path}, for two weeks at most.`)
      done(EXIT.complete)
    })
}

function show(url: URL, { did, open, timeout }: LoginCommandOptions): void {
  say(`Open this address in a browser on this machine, within ${timeout} seconds, and log in as ${did}:`)
  say(url.href)
  if (open) openBrowser(url)
}

const OPENERS: Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>> = {
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
}

function openBrowser(url: URL): void {
  const [opener, ...before] = OPENERS[process.platform] ?? ['xdg-open']
  const child = spawn(opener, [...before, url.href], { stdio: 'ignore', detached: true })
  child.on('error', () => say(`There is no ${opener} to open a browser with: open the address yourself.`))
  child.unref()
}

function parseSeconds(value: string): number {
  const seconds = Number(value)
  if (Number.isInteger(seconds) && seconds > 0 && seconds <= 3600) return seconds
  throw new InvalidArgumentError('It is not a number of seconds from 1 to 3600.')
}
