import { setTimeout } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createHostQueues } from '../../../src/network/host-queues.ts'

it('bounds what is asked of one host, and not of several', async () => {
  const queues = createHostQueues({ concurrency: 2 })
  const running = new Map<string, number>()
  let most = 0
  let mostTogether = 0
  const task = (host: string) =>
    queues.run(`https://${host}/xrpc/x`, async () => {
      running.set(host, (running.get(host) ?? 0) + 1)
      most = Math.max(most, running.get(host) ?? 0)
      mostTogether = Math.max(
        mostTogether,
        [...running.values()].reduce((a, b) => a + b),
      )
      await setTimeout(5)
      running.set(host, (running.get(host) ?? 0) - 1)
      return host
    })
  const hosts = ['a.test', 'a.test', 'a.test', 'b.test', 'b.test', 'b.test']
  expect(await Promise.all(hosts.map(task))).toEqual(hosts)
  expect({ most, mostTogether }).toEqual({ most: 2, mostTogether: 4 })
})

it('rejects as the task does, and goes on', async () => {
  const queues = createHostQueues({ concurrency: 1 })
  const failing = queues.run('https://a.test', () => Promise.reject(new Error('no')))
  await expect(failing).rejects.toThrow('no')
  await expect(queues.run('https://a.test', async () => 'yes')).resolves.toBe('yes')
})
