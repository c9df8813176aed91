/**
 * `login` as an operator and an account's owner live through it: the command in one process, a real browser on the
 * PDS's own pages, then `write` with the kept session in another process.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { clientOf } from '../../src/pds/sessions/logged-in.ts'
import { loginFolder } from '../../src/pds/sessions/login-folder.ts'
import { listStored } from '../../src/stack/scenario/repo.ts'
import { browserTitle, CHROMIUM, CHROMIUM_FLAGS, hasChromium } from './browser.ts'
import { type Command, jsonOf, startCommand, startWorld, traces, type World } from './command-line.ts'

const COLLECTIONS = ['site.standard.publication', 'site.standard.document']

describe.skipIf(!hasChromium)(browserTitle('login in a browser'), () => {
  let world: World
  let profile: string
  let browser: BrowserContext
  let sessions: string

  beforeAll(async () => {
    world = await startWorld({ documents: 12, readers: 3 })
    // Nothing but what `login` keeps may be there to write with.
    world.env.FIREHOSE_REPLAY_APP_PASSWORD = ''
    sessions = join(world.folder, 'sessions')
    profile = await mkdtemp(join(tmpdir(), 'firehose-replay-browser-'))
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      headless: true,
      args: CHROMIUM_FLAGS,
    })
  })
  afterAll(async () => {
    await browser?.close()
    await world?.[Symbol.asyncDispose]()
    if (profile !== undefined) await rm(profile, { recursive: true, force: true })
  })

  const author = () => world.scenario.author
  const ownRecords = async () =>
    (await Promise.all(COLLECTIONS.map((name) => listStored(world.stack, author(), name)))).flat()
  const logIn = (...options: string[]): Command => {
    const args = ['login', '--did', author().did, '--sessions', sessions, ...options]
    return startCommand(args, { cwd: world.folder, env: world.env })
  }

  /** What the owner does in the browser. @returns the text of the page that they end on */
  async function answer(login: Command, button: 'Authorize' | 'Deny access'): Promise<string> {
    const [url = ''] = await login.said(/http:\/\/localhost\S+oauth\/authorize\S+(?=\n)/)
    const page = await browser.newPage()
    try {
      await page.goto(url)
      await page.fill('input[name=password]', author().password)
      await page.keyboard.press('Enter')
      await page.getByRole('button', { name: button }).click()
      await page.waitForURL(/^http:\/\/127\.0\.0\.1:\d+\/callback/)
      return (await page.textContent('body')) ?? ''
    } finally {
      await page.close()
    }
  }

  const write = () =>
    world.run(['write', '--engine', 'local', '--json', '--sessions', sessions, '--snapshot', 'snapshot.json'])

  test('an owner who declines is understood, and nothing is kept', async () => {
    const login = logIn()
    expect(await answer(login, 'Deny access')).toContain('You declined.')
    const { code, stdout, stderr } = await login.ended
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('error: The login of did:plc:')
    expect(stderr).toContain('rejected the request')
    expect(existsSync(sessions) ? await readdir(sessions) : []).toEqual([])
  })

  test('nobody comes: the command gives up', async () => {
    const { code, stderr } = await logIn('--timeout', '1').ended
    expect(code).toBe(2)
    expect(stderr).toContain('in time')
  })

  test('records are written with the kept session, by another process', async () => {
    await world.lose()
    const extracted = await world.run(['extract', '--did', author().did, '--out', 'snapshot.json'])
    expect(extracted).toMatchObject({ code: 0 })
    const before = await traces(world, world.folder)
    const missing = await write()
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('firehose-replay login --did') })
    expect(await traces(world, world.folder)).toEqual(before)

    const login = logIn('--json')
    expect(await answer(login, 'Authorize')).toContain('Thank you.')
    const ended = await login.ended
    expect(ended.code).toBe(0)
    expect(jsonOf(ended)).toMatchObject({ did: author().did, folder: sessions })
    const [file = ''] = await readdir(sessions)
    expect((await stat(join(sessions, file))).mode & 0o777).toBe(0o600)

    const written = await write()
    expect(written).toMatchObject({ code: 0 })
    const lostCount = world.scenario.documents.length + world.scenario.content.publications.length
    expect(jsonOf(written)).toMatchObject({ success: true, recordsWritten: lostCount })
    expect(await ownRecords()).toHaveLength(lostCount)

    const login1 = await loginFolder(sessions).read(author().did)
    const secrets = [login1?.session.tokenSet.access_token, login1?.session.tokenSet.refresh_token]
    const said = [ended, written].map(({ stdout, stderr }) => stdout + stderr).join('')
    for (const secret of [...secrets, author().password]) expect(said).not.toContain(secret ?? '?')
  })

  test('a session that the owner has revoked is refused before anything is written', async () => {
    await world.lose()
    const folder = loginFolder(sessions)
    const login = await folder.read(author().did)
    if (login === undefined) throw new Error('there is a login')
    const network = {
      identity: createIdentity({ plcUrl: world.stack.plcUrl, allowLocalhost: true }),
      fetch: createFetch({ allowLocalhost: true }),
      plcUrl: world.stack.plcUrl,
      allowLocalhost: true,
    }
    const copy = loginFolder(join(world.folder, 'copy'))
    await copy.write(author().did, login)
    await (await clientOf(login, { folder: copy, network })).revoke(author().did)

    const refused = await write()
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('no live session') })
    expect(refused.stderr).toContain(`hint: Run "firehose-replay login --did ${author().did}"`)
    expect(await ownRecords()).toEqual([])
  })
})
