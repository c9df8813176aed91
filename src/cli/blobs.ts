import { type Rows, type Snapshot, tableOf } from '../backup/snapshot.ts'
import type { Database } from '../database/client.ts'
import type { AppView, JsonObject } from '../events.ts'
import { createFetch } from '../network/fetch.ts'
import { createHostQueues } from '../network/host-queues.ts'
import { bucketSource } from '../pds/blobs/bucket-source.ts'
import { type CollectedBlobs, collectBlobs } from '../pds/blobs/collect.ts'
import { folderSource } from '../pds/blobs/folder-source.ts'
import { type BlobNetwork, urlSource } from '../pds/blobs/http-source.ts'
import type { RecordWithBlobs } from '../pds/blobs/plan.ts'
import type { BlobSource } from '../pds/blobs/source.ts'
import {
  accountSources,
  type BlobSupplier,
  type BlobSupplierOptions,
  blobSupplier,
} from '../pds/blobs/supply.ts'
import { type CliContext, openProduction } from './context.ts'
import { say, startProgress } from './output.ts'

/** The network as blobs need it: guarded as everything that a DID document or a record leads to. */
function blobNetworkOf({ config }: Pick<CliContext, 'config'>): BlobNetwork {
  return {
    fetch: createFetch({ allowLocalhost: config.isOn('allowLocalhost') }),
    queues: createHostQueues(),
  }
}

/**
 * Every account's blobs, from the sources that are configured, what is nearest first, then from its PDSes.
 *
 * @throws ConfigError for a source that cannot be one
 */
export async function blobsOf(context: BlobContext): Promise<BlobSupplier> {
  return blobSupplier(await supplierOptions(context))
}

async function supplierOptions(context: BlobContext): Promise<BlobSupplierOptions> {
  const network = blobNetworkOf(context)
  return {
    identity: context.network.identity,
    plcUrl: context.config.required('plcUrl'),
    network,
    sources: await configuredSources(context, network),
  }
}

type BlobContext = Pick<CliContext, 'config' | 'network'>

async function configuredSources({ config }: BlobContext, network: BlobNetwork): Promise<BlobSource[]> {
  const folder = config.get('blobFolder')
  const bucket = config.get('blobBucket')
  const url = config.get('blobUrl')
  return [
    ...(folder === undefined ? [] : [await folderSource(folder)]),
    ...(bucket === undefined ? [] : [bucketOf(openProduction(config), bucket)]),
    ...(url === undefined ? [] : [urlSource(url, network)]),
  ]
}

function bucketOf(database: Database, text: string): BlobSource {
  const slash = text.indexOf('/')
  if (slash === -1) return bucketSource({ database, bucket: text })
  return bucketSource({ database, bucket: text.slice(0, slash), object: text.slice(slash + 1) })
}

/** The records that a snapshot's roots hold, as the appview stored them. */
function storedRecords(snapshot: Snapshot, { roots }: AppView): RecordWithBlobs[] {
  return roots.flatMap(({ table, uriColumn, recordColumn }) =>
    rowsOf(snapshot, table).flatMap((row) => {
      const stored: unknown = JSON.parse(row[recordColumn] ?? 'null')
      const uri = row[uriColumn]
      return uri != null && isObject(stored) ? [{ uri, record: stored }] : []
    }),
  )
}

function rowsOf(snapshot: Snapshot, table: string): Rows {
  return tableOf(snapshot, table)?.rows ?? []
}

function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

/** Keeps in a folder what the sources and the account's PDSes still have of the blobs in a snapshot's records. */
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
      sources: await accountSources(did, await supplierOptions(context)),
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
