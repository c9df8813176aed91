/** The report's page as a browser shows it: alone, from a file, with hostile content. */

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { renderHtml } from '../../src/report/html/page.ts'
import type { Report } from '../../src/report/report.ts'
import { browserTitle, CHROMIUM, CHROMIUM_FLAGS, hasChromium } from './browser.ts'
import { HOSTILE, sampleReport } from './sample-report.ts'

/** For people to look at; git ignores it. */
const SCREENSHOTS = join(import.meta.dirname, '../screenshots')
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

describe.skipIf(!hasChromium)(browserTitle('the page of a report'), () => {
  let browser: Browser
  let folder: string
  const pages: Page[] = []

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'firehose-replay-page-'))
    await mkdir(SCREENSHOTS, { recursive: true })
    browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: CHROMIUM_FLAGS })
  })
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.close()
  })
  afterAll(async () => {
    await browser?.close()
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  /** Opens the report from a file; `requests` and `errors` are what the page tried and what failed in it. */
  async function open(report: Report, options: Parameters<Browser['newPage']>[0] = {}) {
    const file = join(folder, `${pages.length}.html`)
    await writeFile(file, renderHtml(report))
    const page = await browser.newPage(options)
    pages.push(page)
    const requests: string[] = []
    const errors: string[] = []
    page.on('request', (request) => requests.push(request.url()))
    page.on('pageerror', (error) => errors.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text())
    })
    const url = pathToFileURL(file).href
    await page.goto(url)
    return { page, url, requests, errors }
  }

  test.each(['complete', 'incomplete', 'failed'] as const)(
    'says %s in a sentence, and asks nobody',
    async (verdict) => {
      const { page, url, requests, errors } = await open(sampleReport(verdict))
      expect(await page.title()).toMatch(new RegExp(`^${verdict}`))
      expect(await page.locator('#verdict').textContent()).toMatch(
        {
          complete: /^Everything that the backup held of this account is back: 3 records and 12 rows/,
          incomplete: /^Of the 3 records and 12 rows .* 2 things are not as they were/,
          failed: /^This comparison shows nothing/,
        }[verdict],
      )
      expect({ requests, errors }).toEqual({ requests: [url], errors: [] })
      await page.screenshot({ path: join(SCREENSHOTS, `report-${verdict}.png`), fullPage: true })
    },
  )

  test('what did not come back stands first, with the reason', async () => {
    const { page } = await open(sampleReport('incomplete'))
    expect(await page.locator('main section').first().getAttribute('id')).toBe('losses')
    const rows = await page.locator('#losses tbody tr').allTextContents()
    expect(rows).toHaveLength(2)
    expect(rows[0]).toContain('missing')
  })

  test('charts say their numbers to who cannot see them', async () => {
    const { page } = await open(sampleReport('complete'))
    expect(await page.locator('#tables svg').first().getAttribute('aria-label')).toBe(
      '4 rows in the backup, 1 left when the restore began, 4 now',
    )
    expect(await page.locator('#ways svg').getAttribute('aria-label')).toBe(
      '12 rows of the snapshot: 7 restored, 1 filled, 4 derived',
    )
    expect(await page.locator('#timeline svg').getAttribute('aria-label')).toBe(
      'extract 0.5 s, write 1 min 30 s',
    )
  })

  test('ten thousand records: found, filtered and leafed through without freezing', async () => {
    const { page } = await open(sampleReport('complete', 10_000))
    const rows = page.locator('#record-table tbody tr')
    expect(await rows.count()).toBe(100)
    // What freezes a page is building every row: whatever is looked for, it builds a page of them.
    const built = await page.evaluate<number[]>(`(() => {
      const input = document.querySelector('#find')
      return ['r', 're', 'rec', 'record-9', 'record-99', 'record-999'].map((text) => {
        input.value = text
        input.dispatchEvent(new Event('input'))
        return document.querySelectorAll('#record-table tbody tr').length
      })
    })()`)
    expect(built).toEqual([100, 100, 100, 100, 100, 11])
    expect(await page.locator('#found').textContent()).toBe('11 of 10000')
    await page.locator('#find').fill('')
    await page.locator('#next').click()
    expect(await page.locator('#page').textContent()).toBe('page 2 of 100')
    await page.locator('#only').selectOption('missing')
    expect(await rows.count()).toBe(0)
    expect(await page.locator('#next').isDisabled()).toBe(true)
  })

  test('by keyboard alone', async () => {
    const { page } = await open(sampleReport('complete', 250))
    await page.locator('#find').focus()
    await page.keyboard.type('record-24')
    expect(await page.locator('#found').textContent()).toBe('11 of 250')
    await page.keyboard.press('Enter')
    expect(await page.locator('#found').textContent()).toBe('11 of 250')
    await page.locator('#find').fill('')
    for (let presses = 0; presses < 12; presses++) {
      await page.keyboard.press('Tab')
      if (await page.evaluate(`document.activeElement?.id === 'next'`)) break
    }
    await page.keyboard.press('Space')
    expect(await page.locator('#page').textContent()).toBe('page 2 of 3')
  })

  test.each(['light', 'dark'] as const)('axe finds nothing wrong, %s', async (colorScheme) => {
    const { page } = await open(sampleReport('incomplete', 150), { colorScheme, bypassCSP: true })
    await page.screenshot({ path: join(SCREENSHOTS, `report-${colorScheme}.png`), fullPage: true })
    await page.addScriptTag({ content: await readFile(AXE, 'utf8') })
    const violations = await page.evaluate(async () => {
      const { axe } = globalThis as unknown as {
        axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> }
      }
      const { violations: found } = await axe.run()
      return found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`)
    })
    expect(violations).toEqual([])
  })

  test('has a dark ground where the reader wants one', async () => {
    const ground = async (colorScheme: 'light' | 'dark') => {
      const { page } = await open(sampleReport('complete'), { colorScheme })
      return page.evaluate('getComputedStyle(document.body).backgroundColor')
    }
    expect(await ground('light')).toBe('rgb(255, 255, 255)')
    expect(await ground('dark')).toBe('rgb(13, 17, 23)')
  })

  test('prints: without the search, with every section', async () => {
    const { page } = await open(sampleReport('incomplete'))
    await page.emulateMedia({ media: 'print' })
    expect(await page.locator('#filter').isVisible()).toBe(false)
    expect(await page.locator('#losses').isVisible()).toBe(true)
    const pdf = await page.pdf({ path: join(SCREENSHOTS, 'report.pdf') })
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-')
  })

  test('hostile content stays text', async () => {
    const { page, errors, requests, url } = await open(sampleReport('incomplete', 3, HOSTILE))
    expect(await page.evaluate(() => (globalThis as { pwned?: unknown }).pwned)).toBeUndefined()
    expect(await page.locator('img, iframe, a, object, link').count()).toBe(0)
    expect(await page.locator('script').count()).toBe(2)
    const text = await page.locator('body').textContent()
    expect(text).toContain('<img src=x onerror=')
    expect(text).toContain('javascript:pwned')
    expect(text).not.toMatch(/\p{Bidi_Control}/u)
    expect(await page.locator('#record-table tbody tr').first().textContent()).toContain('</script>')
    expect({ errors, requests }).toEqual({ errors: [], requests: [url] })
  })

  test('a script that slipped in would not run', async () => {
    const file = join(folder, 'slipped.html')
    const page = renderHtml(sampleReport('complete')).replace(
      '<main>',
      '<main><script>pwned = 1</script><img src=x onerror="pwned = 2">',
    )
    await writeFile(file, page)
    const opened = await browser.newPage()
    pages.push(opened)
    await opened.goto(pathToFileURL(file).href)
    expect(await opened.evaluate(() => (globalThis as { pwned?: unknown }).pwned)).toBeUndefined()
  })
})
