/** What an operator may get wrong or find broken: one clear message, a hint, the right exit code, nothing half done. */

import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Cleanup } from '../../src/stack/cleanup.ts'
import { freePort } from '../../src/stack/free-port.ts'
import { listenOnLoopback } from '../../src/stack/listen.ts'
import { type Env, startWorld, traces, type World } from './command-line.ts'

const SNAPSHOT = 'scripts/backup-data/user-restore-data.json'
const UNKNOWN_DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'

const cleanup = new Cleanup()
let world: World
/** Nothing listens there. */
let nowhere: string
/** A PLC directory that says of every account that its PDS is where nothing listens. */
let plcOfLostPds: string
let snapshotText: string
let before: unknown

beforeAll(async () => {
  world = cleanup.use(await startWorld({ documents: 8, readers: 3 }))
  nowhere = `http://127.0.0.1:${await freePort()}`
  plcOfLostPds = await startPlcOfLostPds()
  const { code } = await world.run(['extract', '--did', did()])
  expect(code).toBe(0)
  snapshotText = await readFile(join(world.folder, SNAPSHOT), 'utf8')
  await world.lose()
  before = await traces(world, join(world.folder, 'scripts'))
})

afterAll(() => cleanup[Symbol.asyncDispose]())

const did = () => world.scenario.author.did
const production = (): Env => ({
  BACKUP_SUPABASE_URL: world.stack.production.url,
  BACKUP_SUPABASE_SERVICE_ROLE_KEY: world.stack.production.serviceKey,
})

async function startPlcOfLostPds(): Promise<string> {
  const server = createServer(async ({ url = '' }, response) => {
    const answer = await fetch(new URL(url, world.stack.plcUrl))
    const text = (await answer.text()).replaceAll(world.stack.pds.url, nowhere)
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text)
  })
  return `http://127.0.0.1:${await listenOnLoopback(server, cleanup)}`
}

interface Case {
  args: string[]
  env?: Env
  /** Written into the working folder first; undefined takes the snapshot away. */
  files?: Record<string, string | undefined>
  code: 2 | 3 | 75
  error: string | RegExp
  hint: string | RegExp
}

/** Runs in a folder of its own that holds the snapshot, and looks at what is left there. */
async function expectRefusal({ args, env = {}, files = {}, code, error, hint }: Case): Promise<void> {
  const cwd = await mkdtemp(join(world.folder, 'case-'))
  await mkdir(join(cwd, 'scripts/backup-data'), { recursive: true })
  for (const [path, text] of Object.entries({ [SNAPSHOT]: snapshotText, ...files })) {
    if (text !== undefined) await writeFile(join(cwd, path), text)
    if (path.endsWith('600')) await chmod(join(cwd, path), 0o600)
  }
  const untouched = await traces(world, cwd)
  const ended = await world.run(args, { env, cwd })
  const message = ended.stderr.slice(ended.stderr.search(/^error: /m))

  expect(message).toMatch(/^error: .+\nhint: .+\n$/)
  expect(message.split('\n')[0]).toMatch(error)
  expect(message.split('\n')[1]).toMatch(hint)
  expect(ended.stderr).not.toMatch(/^ {4}at |node:internal|TypeError|undefined/m)
  expect(ended.stdout).toBe('')
  expect(ended.code).toBe(code)
  expect(await traces(world, cwd)).toEqual(untouched)
}

describe('databases', () => {
  test.concurrent('the backup is not reachable', () =>
    expectRefusal({
      args: ['extract', '--did', did()],
      env: { BACKUP_SUPABASE_URL: nowhere },
      code: 75,
      error: `The backup database cannot be reached: connect ECONNREFUSED ${new URL(nowhere).host}`,
      hint: 'run the same command again',
    }))

  test.concurrent('production is not reachable', () =>
    expectRefusal({
      args: ['restore', '--did', did()],
      env: { SUPABASE_URL: nowhere },
      code: 75,
      error: `The production database cannot be reached: connect ECONNREFUSED ${new URL(nowhere).host}`,
      hint: 'run the same command again',
    }))

  test.concurrent('no URL of production', () =>
    expectRefusal({
      args: ['compare'],
      env: { SUPABASE_URL: '' },
      code: 2,
      error: "Missing: API URL of the appview's database",
      hint: 'Set SUPABASE_URL or give --production-url.',
    }))

  test.concurrent('a URL that is none', () =>
    expectRefusal({
      args: ['compare', '--production-url', 'localhost:5432'],
      code: 2,
      error: /URL is not an http\(s\) URL: localhost:5432/,
      hint: 'https://REF.supabase.co',
    }))

  test.concurrent.each(['production', 'backup'] as const)('the anon key of %s', (name) => {
    const variable = name === 'backup' ? 'BACKUP_SUPABASE_SERVICE_ROLE_KEY' : 'SUPABASE_SERVICE_ROLE_KEY'
    return expectRefusal({
      args: ['extract', '--did', did()],
      env: { [variable]: world.stack[name].anonKey },
      code: 2,
      error: `The key given for the ${name} database is the anon key, which sees no rows.`,
      hint: 'Give the service role key',
    })
  })

  test.concurrent.each(['production', 'backup'] as const)('a wrong key of %s', (name) => {
    const variable = name === 'backup' ? 'BACKUP_SUPABASE_SERVICE_ROLE_KEY' : 'SUPABASE_SERVICE_ROLE_KEY'
    return expectRefusal({
      args: ['extract', '--did', did()],
      env: { [variable]: 'sb_secret_of_another_project' },
      code: 2,
      error: `The ${name} database refuses this key`,
      hint: 'Give the service role key of that project',
    })
  })

  test.concurrent('backup and production are one, by the same URL', () =>
    expectRefusal({
      args: ['extract', '--did', did()],
      env: production(),
      code: 2,
      error: /are the same database/,
      hint: 'the project that the backup was restored to',
    }))

  test.concurrent('backup and production are one, by another name', () =>
    expectRefusal({
      args: ['restore', '--did', did()],
      env: {
        ...production(),
        BACKUP_SUPABASE_URL: world.stack.production.url.replace('127.0.0.1', 'localhost'),
      },
      code: 2,
      error: /are the same database/,
      hint: 'the project that the backup was restored to',
    }))

  test.concurrent('our migration is not in production', () =>
    expectRefusal({
      args: ['replay', '--did', did()],
      env: {
        SUPABASE_URL: world.stack.backup.url,
        SUPABASE_SERVICE_ROLE_KEY: world.stack.backup.serviceKey,
      },
      code: 2,
      error: 'The production database lacks',
      hint: /Apply supabase\/migrations\/\*_firehose_replay\.sql/,
    }))
})

describe('accounts', () => {
  test.concurrent('the backup knows no record of the account', () =>
    expectRefusal({
      args: ['extract', '--did', UNKNOWN_DID],
      code: 3,
      error: `holds no publications or documents of ${UNKNOWN_DID}`,
      hint: 'Wrong backup, wrong DID',
    }))

  test.concurrent.each(['replay', 'restore'])('a DID that does not resolve: %s', (command) =>
    expectRefusal({
      args: [command, '--did', UNKNOWN_DID],
      code: 3,
      error: `${UNKNOWN_DID} does not exist`,
      hint: 'Check the DID',
    }),
  )

  test.concurrent.each(['maren.test', 'did:plc', 'https://bsky.app'])('no DID: %s', (value) =>
    expectRefusal({
      args: ['restore', '--did', value],
      code: 2,
      error: 'It is not a DID',
      hint: 'firehose-replay restore --help',
    }),
  )

  test.concurrent('a DID of a method that accounts do not have', () =>
    expectRefusal({
      args: ['replay', '--did', 'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme'],
      code: 2,
      error: /is not the DID of an account/,
      hint: 'Give a did:plc or did:web identifier',
    }))

  test.concurrent('the PLC directory is not reachable', () =>
    expectRefusal({
      args: ['replay', '--did', did(), '--plc-url', nowhere],
      code: 75,
      error: /could not be reached: .*ECONNREFUSED/,
      hint: 'Try again later',
    }))

  test.concurrent.each([
    ['replay', '--did'],
    ['restore', '--did'],
    ['compare', undefined],
    ['write', undefined],
  ])('the PDS is not reachable: %s', (command, flag) =>
    expectRefusal({
      args: [command, ...(flag === undefined ? [] : [flag, did()]), '--plc-url', plcOfLostPds],
      code: 75,
      error: /could not be (asked|reached)/,
      hint: /Try again later|Run the same command again/,
    }),
  )

  test.concurrent.each([['write'], ['restore', '--did']])('no app password: %s', (...command) =>
    expectRefusal({
      args: [...command, ...(command.length > 1 ? [did()] : []), '--engine', 'local'],
      env: { FIREHOSE_REPLAY_APP_PASSWORD: '' },
      code: 2,
      error: `${did()} has not logged in here.`,
      hint: '--app-password-file',
    }),
  )

  test.concurrent.each([['write'], ['restore', '--did']])('a wrong app password: %s', (...command) =>
    expectRefusal({
      args: [...command, ...(command.length > 1 ? [did()] : []), '--engine', 'local'],
      env: { FIREHOSE_REPLAY_APP_PASSWORD: 'abcd-efgh-ijkl-mnop' },
      code: 2,
      error: `There is no live session for ${did()}`,
      hint: 'Get a new app password',
    }),
  )

  test.concurrent('a file with a wrong app password', () =>
    expectRefusal({
      args: ['write', '--engine', 'local', '--app-password-file', 'password-600'],
      files: { 'password-600': 'abcd-efgh-ijkl-mnop\n' },
      code: 2,
      error: `There is no live session for ${did()}`,
      hint: 'Get a new app password',
    }))

  test.concurrent('an app password that others can read', () =>
    expectRefusal({
      args: ['write', '--engine', 'local', '--app-password-file', 'password'],
      files: { password: 'abcd-efgh-ijkl-mnop\n' },
      code: 2,
      error: /password is open to other users \(mode 644\)/,
      hint: 'chmod 600 password',
    }))

  test.concurrent.each([
    ['empty', 'password-600', { 'password-600': '\n' }],
    ['missing', 'nowhere', {}],
  ])('an app password file that is %s', (_, name, files) =>
    expectRefusal({
      args: ['write', '--engine', 'local', '--app-password-file', name],
      files,
      code: 2,
      error: `The app password file ${name} `,
      hint: 'Give the path of a file that holds nothing but the app password.',
    }),
  )
})

describe('Inngest', () => {
  test.concurrent.each([['write'], ['restore', '--did']])('is not reachable: %s', (...command) =>
    expectRefusal({
      args: [...command, ...(command.length > 1 ? [did()] : [])],
      env: { INNGEST_BASE_URL: nowhere },
      code: 75,
      error: `Inngest at ${new URL(nowhere).host} cannot be reached: connect ECONNREFUSED`,
      hint: 'Check INNGEST_BASE_URL',
    }),
  )

  test.concurrent('has no event key', () =>
    expectRefusal({
      args: ['write'],
      env: { INNGEST_EVENT_KEY: undefined, INNGEST_DEV: undefined },
      code: 2,
      error: 'There is no event key to send to Inngest with.',
      hint: 'Set INNGEST_EVENT_KEY',
    }))
})

describe('snapshots', () => {
  const commands = [['write', '--engine', 'local'], ['reconcile'], ['compare']]
  const edited = (change: (snapshot: { meta: { format: number }; publications: object[] }) => void) => {
    const snapshot = JSON.parse(snapshotText)
    change(snapshot)
    return JSON.stringify(snapshot)
  }

  test.concurrent.each(commands)('missing: %s', (...args) =>
    expectRefusal({
      args,
      files: { [SNAPSHOT]: undefined },
      code: 2,
      error: /user-restore-data\.json cannot be read/,
      hint: 'run extract first',
    }),
  )

  test.concurrent.each(commands)('cut short: %s', (...args) =>
    expectRefusal({
      args,
      files: { [SNAPSHOT]: snapshotText.slice(0, -2_000) },
      code: 2,
      error: 'The snapshot is cut short or is not JSON.',
      hint: 'Run extract again.',
    }),
  )

  test.concurrent.each(commands)('edited: %s', (...args) =>
    expectRefusal({
      args,
      files: {
        [SNAPSHOT]: edited(({ publications: [first] }) => Object.assign(first ?? {}, { name: 'Mine' })),
      },
      code: 2,
      error: 'The snapshot was changed after it was written',
      hint: 'Run extract again.',
    }),
  )

  test.concurrent.each(commands)('of another format version: %s', (...args) =>
    expectRefusal({
      args,
      files: {
        [SNAPSHOT]: edited(({ meta }) => {
          meta.format += 1
        }),
      },
      code: 2,
      error: /The snapshot is of format version \d+; this program reads version \d+/,
      hint: 'Run extract again',
    }),
  )

  test.concurrent('a file to write to that is a folder', () =>
    expectRefusal({
      args: ['extract', '--did', did(), '--out', 'scripts'],
      code: 2,
      error: 'The snapshot cannot be written to scripts: EISDIR',
      hint: 'Give a path in a folder that can be written',
    }))
})

describe('usage', () => {
  test.concurrent.each([
    [['extract', '--all'], "required option '--did <did>' not specified"],
    [['compare', '--all'], "unknown option '--all'"],
    [['write', '--engine', 'magic'], "option '--engine <engine>' argument 'magic' is invalid"],
    [['serve', '--port', '99999'], 'It is not a port number.'],
    [['undelete'], "unknown command 'undelete'"],
  ])('%j', (args, error) => expectRefusal({ args, code: 2, error, hint: /firehose-replay (\w+ )?--help/ }))

  test.concurrent('a setting that cannot be', () =>
    expectRefusal({
      args: ['compare'],
      env: { LOG_LEVEL: 'loud' },
      code: 2,
      error: 'LOG_LEVEL cannot be "loud".',
      hint: 'Give one of trace, debug, info',
    }))

  test.concurrent.each([
    ['syntax', 'export const = 3', /firehose-replay\.config\.ts cannot be loaded: /],
    ['unsupported', 'export enum Color { red }', /firehose-replay\.config\.ts cannot be loaded: /],
    ['throwing', "throw new Error('no luck')", 'firehose-replay.config.ts cannot be loaded: no luck'],
    ['empty', 'export const other = 1', 'firehose-replay.config.ts exports no configuration.'],
    ['appview', 'export const appview = {}', 'appview: is no description of an appview.'],
  ])('a broken configuration file: %s', (_, text, error) =>
    expectRefusal({
      args: ['compare'],
      files: { 'firehose-replay.config.ts': text },
      code: 2,
      error,
      hint: 'It must export appview, handleEvent, sessionProvider, settings, or some of them.',
    }),
  )
})

test('after all of that nothing has changed', async () => {
  expect(await traces(world, join(world.folder, 'scripts'))).toEqual(before)
})
