import type { Account, Stack } from '../index.ts'
import { UNFINISHED_TITLE } from './drafts.ts'
import { registerPeople } from './people.ts'
import { randomOf } from './random.ts'
import { comment, READ_UNTIL_MS, subscription } from './readers.ts'
import { DAY_MS, type WrittenRecord } from './record.ts'
import { writeRecords } from './repo.ts'
import type { Scenario } from './scenario.ts'

/** The day after everything else. */
const LATER_MS = READ_UNTIL_MS + DAY_MS

export interface LaterLife {
  /** Subscribed after the backup, to a publication that the incident takes and to the one that survives. */
  subscriber: Account
  /** Written after the backup: the two subscriptions, and a comment on a document that survives. */
  records: WrittenRecord[]
  /** The draft whose title is newer than the backup's. */
  draft: { publication: string; leaflet: string; title: string }
}

/** What happens between the backup and the incident: none of it may be undone by a restore. */
export async function lifeGoesOn(stack: Stack, scenario: Scenario): Promise<LaterLife> {
  const { content, name, readers, seed } = scenario
  const random = randomOf(`${seed}/later`)
  const subscriber = await stack.createAccount(`${name}-late.test`)
  await registerPeople(stack.production, [subscriber])
  const subscriptions = [content.publications[0], content.olderPublication].map((publication, index) =>
    subscription(subscriber.did, random, publication, LATER_MS + index),
  )
  await writeRecords(stack, subscriber, subscriptions)
  const comments: WrittenRecord[] = []
  for (const reader of readers.slice(0, 1)) {
    const own = content.olderDocuments
      .slice(0, 1)
      .map((document) => comment(reader.did, random, document, LATER_MS))
    await writeRecords(stack, reader, own)
    comments.push(...own)
  }
  return { subscriber, records: [...subscriptions, ...comments], draft: await editDraft(stack, scenario) }
}

async function editDraft(stack: Stack, { content }: Scenario): Promise<LaterLife['draft']> {
  const publication = content.olderPublication.uri
  const title = `${UNFINISHED_TITLE}, second version`
  const [row] = await stack.production.query(
    'update leaflets_in_publications set title = $1 where publication = $2 and title = $3 returning leaflet',
    [title, publication, UNFINISHED_TITLE],
  )
  return { publication, leaflet: String(row?.leaflet), title }
}
