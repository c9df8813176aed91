import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { leaflet } from '../../../../src/appview/leaflet/index.ts'
import type { Snapshot } from '../../../../src/backup/snapshot.ts'
import { Consent } from '../../../../src/reconcile/consent/consent.ts'
import { networkOf, TestAccount } from './accounts.ts'

const AUTHOR = 'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb'
const READER = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const PUBLICATION = `at://${AUTHOR}/site.standard.publication/3aaaaaaaaaaa2`
const RECORD = { $type: 'site.standard.graph.subscription', publication: PUBLICATION }
const PATH = 'site.standard.graph.subscription/3ccccccccccc2'
const URI = `at://${READER}/${PATH}`

const column = (name: string, type = 'text') => ({ name, type, generated: false })
const SNAPSHOT: Snapshot = {
  did: AUTHOR,
  tables: [
    {
      table: 'publication_subscriptions',
      section: 'publicationSubscriptions',
      key: ['publication', 'identity'],
      columns: [column('uri'), column('identity'), column('publication'), column('record', 'jsonb')],
      rows: [{ uri: URI, identity: READER, publication: PUBLICATION, record: JSON.stringify(RECORD) }],
    },
  ],
  parents: [],
  meta: { format: 1, extractedAt: '2026-01-01T00:00:00.000Z', from: 'backup', appview: 'leaflet' },
}

it('keeps an answer for its time, and asks again after it', async () => {
  const account = await TestAccount.create(READER, { [PATH]: RECORD })
  const network = networkOf([account])
  const consent = new Consent({ snapshot: SNAPSHOT, appview: leaflet, network, maxAgeMs: 50 })
  const decide = async () => (await consent.decide([URI, URI])).get(URI)?.consent
  expect(await decide()).toBe('same')
  await account.remove(PATH)
  const asked = network.asked.length
  const soon = await decide()
  // On a machine that was held up, the answer may have grown old by now.
  if (network.asked.length === asked) expect(soon).toBe('same')
  await sleep(60)
  expect(await decide()).toBe('withdrawn')
})

it('gives what changed as an event, until it is as it was again', async () => {
  const account = await TestAccount.create(READER, { [PATH]: { ...RECORD, note: 'new' } })
  const network = networkOf([account])
  const consent = new Consent({ snapshot: SNAPSHOT, appview: leaflet, network, maxAgeMs: 0 })
  expect([...(await consent.decide([URI])).values()]).toMatchObject([{ consent: 'changed' }])
  expect(consent.changed()).toMatchObject([{ did: READER, record: { note: 'new' }, source: 'repo' }])
  await account.put(PATH, RECORD)
  await consent.decide([URI])
  expect(consent.changed()).toEqual([])
  expect([...consent.decisions().values()]).toMatchObject([{ consent: 'same' }])
})

it('answers only for records that rows of the snapshot were made from', async () => {
  const network = networkOf([])
  const consent = new Consent({ snapshot: SNAPSHOT, appview: leaflet, network })
  expect(await consent.decide([PUBLICATION, `${URI}x`, 'nonsense'])).toEqual(new Map())
  expect(network.asked).toEqual([])
})
