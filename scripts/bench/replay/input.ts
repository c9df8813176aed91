import { AtpAgent } from '@atproto/api'
import type { Json, JsonObject } from '../../../src/events.ts'
import type { Account } from '../../../src/stack/index.ts'
import { documents } from '../write/input.ts'

export const COLLECTION = 'site.standard.document'
const RECORDS_PER_COMMIT = 200

/** Publishes documents of about 2 KB, in commits as large as the host takes. */
export async function publishDocuments(account: Account, count: number): Promise<void> {
  const agent = new AtpAgent({ service: account.pdsUrl })
  await agent.login({ identifier: account.did, password: account.password })
  const writes = documents(count).map(({ collection, rkey, record }) => ({
    $type: 'com.atproto.repo.applyWrites#create' as const,
    collection,
    rkey,
    value: shortened(record),
  }))
  for (let start = 0; start < writes.length; start += RECORDS_PER_COMMIT) {
    await agent.com.atproto.repo.applyWrites({
      repo: account.did,
      validate: false,
      writes: writes.slice(start, start + RECORDS_PER_COMMIT),
    })
  }
}

/** Half of what the benchmark of writes has: about 2 KB. */
export function shortened(record: JsonObject): JsonObject {
  return {
    ...record,
    // None: the appview's triggers that count tags would take longer than the rows.
    tags: [],
    textContent: String(record.textContent).slice(0, 600),
    content: halved(record.content) ?? null,
  }
}

function halved(content: Json | undefined): Json | undefined {
  if (
    content === null ||
    typeof content !== 'object' ||
    !('pages' in content) ||
    !Array.isArray(content.pages)
  ) {
    return content
  }
  return { ...content, pages: content.pages.slice(0, content.pages.length / 2) }
}
