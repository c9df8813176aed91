import type { Snapshot, SnapshotTable } from '../backup/snapshot.ts'
import { jsonColumns } from './json-columns.ts'

/**
 * The CIDs by which the rows of a snapshot refer to these records: every `{ uri, cid }` anywhere in a JSON column
 * (a comment's reply, a post that links to a document). Each is of the version that its author saw, if it is true.
 *
 * One walk over the columns. A value whose text does not name the account and a `cid` is not even parsed; what an
 * escape hides from that look is only not used as proof.
 */
export function strongReferencesIn(
  { did, tables, parents }: Pick<Snapshot, 'did' | 'tables' | 'parents'>,
  uris: ReadonlySet<string>,
): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const text of jsonTexts([...tables, ...parents])) {
    if (!text.includes(did) || !text.includes('"cid"')) continue
    for (const { uri, cid } of referencesIn(JSON.parse(text))) {
      if (!uris.has(uri)) continue
      const cids = found.get(uri)
      if (cids === undefined) found.set(uri, new Set([cid]))
      else cids.add(cid)
    }
  }
  return found
}

function* jsonTexts(tables: readonly SnapshotTable[]): Generator<string, undefined> {
  for (const table of tables) {
    const columns = [...jsonColumns(table)]
    for (const row of table.rows) {
      for (const column of columns) {
        const text = row[column]
        if (text != null) yield text
      }
    }
  }
}

/** With a stack of its own: how deep somebody else's record is nested is up to them. */
function* referencesIn(json: unknown): Generator<{ uri: string; cid: string }, undefined> {
  const open: unknown[] = [json]
  while (open.length > 0) {
    const value = open.pop()
    if (value === null || typeof value !== 'object') continue
    for (const child of Object.values(value)) open.push(child)
    if ('uri' in value && 'cid' in value && typeof value.uri === 'string' && typeof value.cid === 'string')
      yield { uri: value.uri, cid: value.cid }
  }
}
