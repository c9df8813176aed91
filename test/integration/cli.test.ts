/** Each command as an operator runs it: what is on stdout, what is on stderr, and the exit code. */

import { mkdtemp, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { reportSchema } from '../../src/report/report.ts'
import {
  type Command,
  type Ended,
  jsonOf,
  nameOfProduction,
  startCommand,
  startWorld,
  traces,
  type World,
} from './command-line.ts'

const SNAPSHOT = 'scripts/backup-data/user-restore-data.json'
const COMMANDS = [
  'restore',
  'extract',
  'login',
  'write',
  'replay',
  'reconcile',
  'compare',
  'consume',
  'serve',
]

let world: World
/** Of the author, that the incident takes. */
let lostCount: number

beforeAll(async () => {
  world = await startWorld({ documents: 12, readers: 3 })
  lostCount = world.scenario.documents.length + world.scenario.content.publications.length
})

afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})

const did = () => world.scenario.author.did
const now = () => traces(world, world.folder)
/** As `world.run`, in a process of its own: what starting and ending it do is seen too. */
const start = (...args: string[]) => startCommand(args, { env: world.env, cwd: world.folder }).ended

/** What is for people must not be in the way of programs, and the other way round. */
function expectQuiet({ stderr }: Ended): void {
  expect(stderr).not.toContain('{')
  expect(stderr).not.toContain('error:')
}

describe('help', () => {
  test('says the version', async () => {
    const { version } = JSON.parse(await readFile(join(import.meta.dirname, '../../package.json'), 'utf8'))
    expect(await start('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  test('of each command has an example and the exit codes', async () => {
    const helps = await Promise.all(COMMANDS.map((name) => world.run([name, '--help'])))
    for (const [index, name] of COMMANDS.entries()) {
      expect(helps[index]).toMatchObject({ code: 0, stderr: '' })
      expect(helps[index]?.stdout).toContain(`\n  firehose-replay ${name}`)
      expect(helps[index]?.stdout).toContain('Exit codes: 0 complete, 1 incomplete')
    }
  })
})

describe('phase by phase', () => {
  beforeAll(() => world.lose())

  test('extract', async () => {
    const ended = await start('extract', '--did', did(), '--json')
    expect(ended.code).toBe(0)
    expectQuiet(ended)
    expect(jsonOf(ended)).toMatchObject({ did: did(), snapshot: SNAPSHOT, tables: { publications: 3 } })
    expect((await stat(join(world.folder, SNAPSHOT))).mode & 0o777).toBe(0o600)
  })

  test('write --dry-run prints the plan and writes nothing', async () => {
    const before = await now()
    const ended = await world.run(['write', '--dry-run', '--json'])
    expect(ended.code).toBe(0)
    expectQuiet(ended)
    expect(jsonOf(ended)).toMatchObject({ did: did(), counts: { create: lostCount, overwrite: 0 } })
    expect(await now()).toEqual(before)
  })

  test('compare finds what is missing', async () => {
    const ended = await start('compare', '--json')
    expect(ended.code).toBe(1)
    expect(ended.stderr).toBe('')
    expect(reportSchema.parse(jsonOf(ended))).toMatchObject({
      verdict: 'incomplete',
      records: { missing: lostCount },
    })
  })

  test('compare for people cuts no line where there is no terminal, and has no colours', async () => {
    const { code, stdout } = await world.run(['compare'])
    expect(code).toBe(1)
    expect(stdout).toContain(world.scenario.content.publications[0].uri)
    expect(stdout).not.toContain('\u001b')
  })

  test('reconcile does not start before a replay', async () => {
    const before = await now()
    const ended = await start('reconcile')
    expect(ended).toMatchObject({ code: 3, stdout: '' })
    expect(ended.stderr).toMatch(/^error: No replay of .* has finished/)
    expect(ended.stderr).toMatch(/^hint: Run "firehose-replay replay --did/m)
    expect(await now()).toEqual(before)
  })

  test("the plan's step for the database does not start before its step for the PDS", async () => {
    const before = await now()
    const ended = await world.run([], { script: 'scripts/restore-db-data.ts' })
    expect(ended).toMatchObject({ code: 3, stdout: '' })
    expect(ended.stderr).toMatch(
      new RegExp(`^error: ${lostCount} records of the snapshot are not in the repo`),
    )
    expect(ended.stderr).toMatch(/^hint: Write them first/m)
    expect(await now()).toEqual(before)
  })

  test('write --engine local', async () => {
    const ended = await world.run(['write', '--engine', 'local', '--json'])
    expect(ended.code).toBe(0)
    expectQuiet(ended)
    expect(jsonOf(ended)).toMatchObject({ success: true, recordsWritten: lostCount, notWritten: [] })
  })

  test('replay', async () => {
    const ended = await world.run(['replay', '--did', did(), '--json'])
    expect(ended.code).toBe(0)
    expect(jsonOf(ended)).toMatchObject({ receipt: { did: did() }, counts: { invalid: 1 }, unreadable: [] })
    expect(ended.stderr).toContain(world.scenario.brokenDocument)
  })

  test('reconcile --dry-run prints the plan and writes nothing', async () => {
    const before = await now()
    const ended = await world.run(['reconcile', '--dry-run', '--json'])
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const { tables } = jsonOf(ended)
    expect(JSON.stringify(tables)).toContain('"action":"insert"')
    expect(await now()).toEqual(before)
  })

  test('reconcile', async () => {
    const ended = await world.run(['reconcile', '--json'])
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.stringify(jsonOf(ended).tables)).toContain('"outcome":"restored"')
  })

  test('compare finds everything', async () => {
    const ended = await world.run(['compare', '--json'])
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    expect(reportSchema.parse(jsonOf(ended))).toMatchObject({ verdict: 'complete' })
  })
})

describe('restore', () => {
  beforeAll(async () => {
    await world.lose()
    serving = startCommand(['serve', '--port', '0'], { env: world.env, cwd: world.folder })
    const [, url = ''] = await serving.said(/Serving (\S+);/)
    await world.stack.inngest.register(url)
  })

  afterAll(async () => {
    serving?.child.kill('SIGTERM')
    expect(await serving?.ended).toMatchObject({ code: 0, stdout: '' })
  })

  let serving: Command | undefined

  test('--dry-run prints the plan and writes nothing but the folder of the run', async () => {
    const before = await traces(world, join(world.folder, 'scripts'))
    const ended = await world.run(['restore', '--did', did(), '--dry-run', '--json'])
    expect(ended.code).toBe(0)
    expect(jsonOf(ended)).toMatchObject({ did: did(), counts: { create: lostCount } })
    expect(ended.stderr).toMatch(/^Snapshot, plans and report of this run: \.firehose-replay\/runs\//m)
    expect(ended.stderr).toMatch(/^Nothing was written to the PDS or to production\.$/m)
    expect(await traces(world, join(world.folder, 'scripts'))).toEqual(before)
  })

  test('without a terminal wants to be confirmed by --yes', async () => {
    const before = await traces(world, join(world.folder, 'scripts'))
    const ended = await world.run(['restore', '--did', did(), '--engine', 'local'])
    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toMatch(/^error: There is no terminal to confirm in\.$/m)
    expect(ended.stderr).toContain(`hint: If the plan above is right, add --yes ${nameOfProduction(world)}\n`)
    expect(await traces(world, join(world.folder, 'scripts'))).toEqual(before)
  })

  test('--yes with another name is refused', async () => {
    const before = await traces(world, join(world.folder, 'scripts'))
    const ended = await world.run(['restore', '--did', did(), '--engine', 'local', '--yes', 'staging'])
    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toContain(
      `error: --yes names staging, but production is ${nameOfProduction(world)}.\nhint: `,
    )
    expect(await traces(world, join(world.folder, 'scripts'))).toEqual(before)
  })

  test('through Inngest and the served function', async () => {
    const yes = ['--yes', nameOfProduction(world)]
    const ended = await world.run(['restore', '--did', did(), '--engine', 'inngest', ...yes, '--json'])
    expect(ended).toMatchObject({ code: 0 })
    expect(reportSchema.parse(jsonOf(ended))).toMatchObject({ did: did(), verdict: 'complete' })
    expect(world.stack.inngest.runs().map(({ status }) => status)).toEqual(['Completed'])
  })

  test('a second time, in this process, finds nothing to do', async () => {
    const before = await traces(world, join(world.folder, 'scripts'))
    const yes = ['--yes', nameOfProduction(world)]
    const ended = await world.run(['restore', '--did', did(), '--engine', 'local', ...yes, '--json'])
    expect(ended).toMatchObject({ code: 0 })
    expect(reportSchema.parse(jsonOf(ended))).toMatchObject({ verdict: 'complete' })
    expect(ended.stderr).toContain('There was nothing to do: everything was there already.\n')
    expect(await traces(world, join(world.folder, 'scripts'))).toEqual(before)
  })

  test("the plan's three steps do the same", async () => {
    await world.lose()
    const steps = [
      await world.run(['--did', did()], { script: 'scripts/extract-backup-data.ts' }),
      await world.run([], { script: 'scripts/trigger-pds-restore.ts' }),
      await world.run(['--json'], { script: 'scripts/restore-db-data.ts' }),
    ]
    expect(steps.map(({ code, stderr }) => (code === 0 ? 0 : stderr))).toEqual([0, 0, 0])
    expect(reportSchema.parse(jsonOf(steps[2] as Ended))).toMatchObject({ verdict: 'complete' })
    expect(world.stack.inngest.runs()).toHaveLength(2)
  })
})

describe("an operator's own handleEvent", () => {
  const OWN = `
    import { appendFileSync } from 'node:fs'
    export async function handleEvent({ event, uri, cid, collection, record }) {
      if (record.$type !== collection) throw new TypeError('no record')
      appendFileSync('events.log', [event, uri, cid].join(' ') + '\\n')
    }`
  const FAILING = `
    export function handleEvent({ uri }) {
      throw new RangeError('disk full')
    }`

  /** A working folder with this configuration, an account that nobody has replayed yet, and its one record. */
  async function arrange(config: string) {
    const cwd = await mkdtemp(join(world.folder, 'own-'))
    await writeFile(join(cwd, 'firehose-replay.config.ts'), config)
    await world.stack.production.query('delete from replay_receipts')
    const replay = () => world.run(['replay', '--did', did(), '--json'], { cwd })
    return { cwd, replay, before: await traces(world, join(world.folder, 'scripts')) }
  }

  test('is fed by a replay in place of our indexer, and the receipt is kept', async () => {
    const { cwd, replay, before } = await arrange(OWN)
    const ended = await replay()
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const { receipt, records, counts } = jsonOf(ended)

    const log = (await readFile(join(cwd, 'events.log'), 'utf8')).trimEnd().split('\n')
    const uris = log.map((line) => line.split(' ')[1])
    expect(log.every((line) => line.startsWith('create '))).toBe(true)
    expect(new Set(uris).size).toBe(records)
    expect(uris).toEqual(expect.arrayContaining(world.scenario.documents))
    const isDocument = (uri = '') => uri.includes('site.standard.document')
    expect(uris.findIndex(isDocument)).toBeGreaterThan(
      uris.findLastIndex((uri = '') => uri.includes('standard.publication')),
    )
    expect(counts).toMatchObject({ applied: records, invalid: 0 })

    const [saved] = await world.stack.production.query('select did, rev, commit from replay_receipts')
    expect(saved).toEqual(receipt)
    expect(await traces(world, join(world.folder, 'scripts'))).toEqual({ ...Object(before), receipts: 1 })
  })

  test('that throws ends the replay without a receipt', async () => {
    const { replay, before } = await arrange(FAILING)
    const ended = await replay()
    expect(ended).toMatchObject({ code: 3, stdout: '' })
    expect(ended.stderr).toMatch(
      /^error: handleEvent of the configuration file failed on at:\/\/\S+: disk full\nhint: .+\n$/,
    )
    expect(await traces(world, join(world.folder, 'scripts'))).toEqual(before)
  })
})
