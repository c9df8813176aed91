import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { PdsError, UnavailableError } from '../../../../src/errors.ts'
import { Hosts } from '../../../../src/reconcile/consent/hosts.ts'

const A = 'https://a.example'
const B = 'https://b.example'
const away = (retryAtMs?: number) =>
  new UnavailableError('a.example answered 429', retryAtMs === undefined ? {} : { retryAtMs })

describe('Hosts', () => {
  it('bounds what is asked of one host, and of all', async () => {
    const hosts = new Hosts({ perHost: 2, total: 3 })
    const running = new Map<string, number>()
    const most = { host: 0, all: 0 }
    const ask = (url: string) =>
      hosts.ask(url, async () => {
        running.set(url, (running.get(url) ?? 0) + 1)
        most.host = Math.max(most.host, running.get(url) ?? 0)
        most.all = Math.max(
          most.all,
          [...running.values()].reduce((sum, count) => sum + count),
        )
        await sleep(2)
        running.set(url, (running.get(url) ?? 0) - 1)
      })
    await Promise.all(Array.from({ length: 24 }, (_, index) => ask(`https://${index % 2}.example`)))
    expect(most).toEqual({ host: 2, all: 3 })
  })

  it('comes back when the host said, with all that it wants of it', async () => {
    const hosts = new Hosts({ perHost: 2 })
    const retryAtMs = Date.now() + 120
    const asked: number[] = []
    const ask = () =>
      hosts.ask(A, async () => {
        asked.push(Date.now())
        if (asked.length === 1) throw away(retryAtMs)
      })
    await ask()
    await ask()
    expect(asked).toHaveLength(3)
    expect(asked.slice(1).every((atMs) => atMs >= retryAtMs - 1)).toBe(true)
  })

  it('asks nobody a second time who refused, and nobody any more who stays away', async () => {
    const hosts = new Hosts({ attempts: 2, firstDelayMs: 1, maxFailures: 2 })
    const asked = { a: 0, b: 0 }
    const refuse = hosts.ask(B, async () => {
      asked.b++
      throw new PdsError('no', { error: 'RepoNotFound' })
    })
    await expect(refuse).rejects.toThrow('no')
    for (let index = 0; index < 5; index++) {
      const gone = hosts.ask(A, async () => {
        asked.a++
        throw away()
      })
      await expect(gone).rejects.toThrow('429')
    }
    expect(asked).toEqual({ a: 4, b: 1 })
    await expect(hosts.ask(B, async () => 'still there')).resolves.toBe('still there')
  })

  it('does not wait for a host that wants to be left alone for long', async () => {
    const hosts = new Hosts({ maxWaitMs: 1000 })
    const ask = () =>
      hosts.ask(A, async () => {
        throw away(Date.now() + 3_600_000)
      })
    const startedMs = Date.now()
    await expect(ask()).rejects.toThrow('429')
    await expect(ask()).rejects.toThrow('429')
    expect(Date.now() - startedMs).toBeLessThan(900)
  })

  it('stops waiting when it is told to', async () => {
    const interrupted = new AbortController()
    const hosts = new Hosts({ signal: interrupted.signal })
    const waiting = hosts.ask(A, async () => {
      setImmediate(() => interrupted.abort(new Error('interrupted')))
      throw away(Date.now() + 100_000)
    })
    await expect(waiting).rejects.toThrow('interrupted')
  })
})
