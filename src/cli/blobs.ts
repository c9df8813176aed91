import { type Snapshot, tableOf } from '../backup/snapshot.ts'
import type { AppView, JsonObject } from '../events.ts'
import { createFetch } from '../network/fetch.ts'
import { createHostQueues } from '../network/host-queues.ts'
import { bucketSource } from '../pds/blobs/bucket-source.ts'
import { type CollectedBlobs, collectBlobs } from '../pds/blobs/collect.ts'
import { folderSource } from '../pds/blobs/folder-source.ts'
import { type BlobNetwork, urlSource } from '../pds/blobs/http-source.ts'
import { pdsSources } from '../pds/blobs/pds-sources.ts'
import type { RecordWithBlobs } from '../pds/blobs/plan.ts'
import type { BlobSource } from '../pds/blobs/source.ts'
import type { CliContext } from './context.ts'
import { say, startProgress } from './output.ts'

/** Where blobs may be had, beside the account's PDSes. */
export interface BlobSourceOptions {
  blobFolder?: string
  blobBucket?: string
  blobUrl?: string
}

/** The network as blobs need it: guarded as everything that a DID document or a record leads to. */
export function blobNetworkOf({ config }: Pick<CliContext, 'config'>): BlobNetwork {
  return {
    fetch: createFetch({ allowLocalhost: config.isOn('allowLocalhost') }),
    queues: createHostQueues(),
  }
}

/** Every source of an account's blobs, in the order in which they are asked: what is nearest first. */
export async function blobSourcesOf(
  context: Pick<CliContext, 'config' | 'network' | 'production'>,
  did: string,
  { blobFolder, blobBucket, blobUrl }: BlobSourceOptions = {},
): Promise<BlobSource[]> {
  const network = blobNetworkOf(context)
  const sources: BlobSource[] = []
  if (blobFolder !== undefined) sources.push(await folderSource(blobFolder))
  if (blobBucket !== undefined) sources.push(bucketOf(context, blobBucket))
  if (blobUrl !== undefined) sources.push(urlSource(blobUrl, network))
  const { pdsUrl } = await context.network.identity.resolve(did)
  const plcUrl = context.config.required('plcUrl')
  return [...sources, ...(await pdsSources(did, { pdsUrl, plcUrl, network }))]
}

function bucketOf({ production }: Pick<CliContext, 'production'>, text: string): BlobSource {
  const slash = text.indexOf('/')
  if (slash === -1) return bucketSource({ database: production, bucket: text })
  return bucketSource({
    database: production,
    bucket: text.slice(0, slash),
    object: text.slice(slash + 1),
  })
}

/** The records that a snapshot's roots hold, as the appview stored them. */
export function storedRecords(snapshot: Snapshot, { roots }: AppView): RecordWithBlobs[] {
  return roots.flatMap(({ table, uriColumn, recordColumn }) =>
    (tableOf(snapshot, table)?.rows ?? []).flatMap((row) => {
      const stored: unknown = JSON.parse(row[recordColumn] ?? 'null')
      const uri = row[uriColumn]
      return uri != null && isObject(stored) ? [{ uri, record: stored }] : []
    }),
  )
}

function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

/** Keeps in a folder what the account's PDSes still have of the blobs in a snapshot's records. */
export async function collectBlobsOf(
  context: CliContext,
  snapshot: Snapshot,
  { folder, isQuiet }: { folder: string; isQuiet: boolean },
): Promise<CollectedBlobs> {
  const { did } = snapshot
  const progress = startProgress('blobs', isQuiet)
  try {
    return await collectBlobs(storedRecords(snapshot, context.appview), {
      did,
      folder,
      sources: await blobSourcesOf(context, did),
      onProgress: progress.update,
    })
  } finally {
    progress.stop()
  }
}

export function sayCollectedBlobs(
  { collected, alreadyThere, missing, lacking, recordsWithBlobs }: CollectedBlobs,
  folder: string,
): void {
  say(`${lacking.length} of ${recordsWithBlobs} records with blobs need some that cannot be had.`)
  for (const { uri, lacking: blobs } of lacking)
    for (const { cid, paths, reason } of blobs) say(`lacking: ${uri} ${paths.join(', ')}: ${cid}: ${reason}`)
  const kib = Math.ceil(collected.bytes / 1024)
  say(
    `${collected.count} blobs (${kib} KiB) put into ${folder}, ${alreadyThere} were there, ${missing.length} are missing.`,
  )
  if (missing.length > 0) say(`If anybody has what is missing, put it into ${folder}, named by its CID.`)
}
