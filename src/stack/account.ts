/** An account with years behind it, on the embedded stack: an author, what they published, and who reads it. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AuthorContent, authorContent } from './content.ts'
import type { Account, Stack } from './index.ts'
import type { Picture } from './scenario/images.ts'
import { expectedRows } from './scenario/indexed.ts'
import { inParallel } from './scenario/parallel.ts'
import { registerPeople, writeBrokenRow } from './scenario/people.ts'
import { readerContent } from './scenario/readers.ts'
import type { WrittenRecord } from './scenario/record.ts'
import { createAppPassword, uploadPictures, writeRecords } from './scenario/repo.ts'
import type { Author, Scenario } from './scenario/scenario.ts'

export { tableCounts } from './scenario/counts.ts'
export { foundRows, type RowCounts, waitUntilGone, waitUntilIndexed } from './scenario/indexed.ts'
export { type LaterLife, lifeGoesOn } from './scenario/life-goes-on.ts'
export { liveOn } from './scenario/live-on.ts'
export type { WrittenRecord } from './scenario/record.ts'
export type { Author, Scenario } from './scenario/scenario.ts'

export interface ScenarioOptions {
  /** Of site.standard.document; one of them breaks its lexicon. At least 8. @defaultValue 150 */
  documents?: number
  /** At least 3. @defaultValue 40 */
  readers?: number
  /** What every record is made from: the same seed, the same records (but for the DIDs in them). */
  seed?: string
  /** First part of all handles and hosts: lower case, at most 8 letters, one per stack. @defaultValue 'maren' */
  name?: string
  /** Publications and a share of the documents have pictures, uploaded by the author. @defaultValue true */
  images?: boolean
  /** Where the pictures are kept as well, in files named by CID: what an appview has in its cache. */
  blobFolder?: string
  /** Told while accounts are made and records written. */
  onProgress?: (step: 'accounts' | 'records', done: number, total: number) => void
}

/** Enough to keep the PDS busy; account creation is mostly its password hashing. */
const ACCOUNTS_AT_ONCE = 8

/**
 * Makes the accounts and writes their records through the PDS, the author's first. What the app itself would have
 * written before is inserted by SQL: identities and profiles, as at a login, and the row of the broken document.
 *
 * Once these records are indexed (by whoever the caller runs for that) go on with `liveOn`.
 */
export async function publish(stack: Stack, options: ScenarioOptions = {}): Promise<Scenario> {
  const {
    documents = 150,
    readers: readerCount = 40,
    seed = 'lived-in',
    name = 'maren',
    images = true,
    blobFolder,
    onProgress,
  } = options
  const { author, readers } = await createAccounts(stack, name, readerCount, onProgress)
  const content = authorContent({ did: author.did, name, documents, seed, images })
  const readerDids = readers.map(({ did }) => did)
  const { records: fromReaders, mentions } = readerContent(content, author.did, readerDids, seed)
  const records = [...authorRecords(content), ...fromReaders]

  await registerPeople(stack.production, [author, ...readers])
  const broken = content.documents.filter(({ isBroken }) => isBroken)
  for (const record of broken) await writeBrokenRow(stack.production, record)
  await uploadPictures(stack, author, content.pictures)
  if (blobFolder !== undefined) await keepPictures(blobFolder, content.pictures)
  await writeAll(stack, author, readers, records, onProgress)
  return {
    name,
    seed,
    author,
    publications: [
      ...content.publications.map(({ uri }) => ({ uri, survives: false })),
      { uri: content.olderPublication.uri, survives: true },
    ],
    documents: content.documents.map(({ uri }) => uri),
    survivingDocuments: content.olderDocuments.map(({ uri }) => uri),
    brokenDocument: broken[0]?.uri ?? '',
    readers,
    content,
    mentions,
    records,
    expectedRows: expectedRows(records),
  }
}

async function createAccounts(
  stack: Stack,
  name: string,
  readerCount: number,
  onProgress: ScenarioOptions['onProgress'],
): Promise<{ author: Author; readers: Account[] }> {
  const total = readerCount + 1
  let done = 0
  const create = async (handle: string): Promise<Account> => {
    const account = await stack.createAccount(handle)
    onProgress?.('accounts', ++done, total)
    return account
  }
  const account = await create(`${name}.test`)
  const author = { ...account, appPassword: await createAppPassword(stack, account, 'restore') }
  const handles = Array.from({ length: readerCount }, (_, index) => `${name}-reader-${index + 1}.test`)
  return { author, readers: await inParallel(handles, ACCOUNTS_AT_ONCE, create) }
}

async function keepPictures(folder: string, pictures: readonly Picture[]): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const { cid, bytes } of pictures) await writeFile(join(folder, cid), bytes)
}

function authorRecords(content: AuthorContent): WrittenRecord[] {
  const { publications, olderPublication, posts, olderDocuments, documents } = content
  return [olderPublication, ...olderDocuments, ...publications, ...posts, ...documents]
}

async function writeAll(
  stack: Stack,
  author: Account,
  readers: readonly Account[],
  records: readonly WrittenRecord[],
  onProgress: ScenarioOptions['onProgress'],
): Promise<void> {
  let done = 0
  const onBatch = (written: number): void => {
    done += written
    onProgress?.('records', done, records.length)
  }
  const write = (account: Account): Promise<void> => {
    const own = records.filter(({ did }) => did === account.did)
    return writeRecords(stack, account, own, onBatch)
  }
  await write(author)
  await inParallel(readers, ACCOUNTS_AT_ONCE, write)
}
