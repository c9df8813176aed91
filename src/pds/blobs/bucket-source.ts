import type { Database } from '../../database/client.ts'
import { ConfigError, UnavailableError, VerificationError } from '../../errors.ts'
import { type BlobSource, MAX_BLOB_BYTES } from './source.ts'
import { filled, refuseTemplate } from './template.ts'

export interface BucketOptions {
  database: Pick<Database, 'client' | 'label'>
  bucket: string
  /** Name of the object, with {cid} and, if need be, {did} in it. @defaultValue '{cid}' */
  object?: string
  /** @defaultValue 100 MiB */
  maxBytes?: number
}

/** A bucket of Supabase Storage. @throws ConfigError when the object's name does not depend on the CID */
export function bucketSource(options: BucketOptions): BlobSource {
  const { database, bucket, object = '{cid}', maxBytes = MAX_BLOB_BYTES } = options
  refuseTemplate(object, `The name of an object in the bucket ${bucket}, ${object},`)
  const name = `bucket ${bucket} (${database.label})`
  return {
    name,
    async fetch(cid, did) {
      const { data, error } = await database.client.storage.from(bucket).download(filled(object, cid, did))
      if (error !== null) {
        if (isNoObject(error)) return undefined
        throw failureOf(name, error)
      }
      if (data.size > maxBytes) {
        throw new VerificationError(`${name} holds more than ${maxBytes} bytes for ${cid}.`)
      }
      return new Uint8Array(await data.arrayBuffer())
    },
  }
}

interface Failure {
  message: string
  status?: number | undefined
  statusCode?: string | undefined
  code?: string | undefined
}

/**
 * "Not found" is said of objects and of buckets with the same status, and older servers send that as 400 with the
 * true one in the body. Only the first is an answer: a bucket that is not there must not look like an empty one.
 */
function isNoObject({ message, status, statusCode, code }: Failure): boolean {
  if (code === 'NoSuchKey') return true
  const isNotFound = status === 404 || statusCode === '404'
  return isNotFound && code !== 'NoSuchBucket' && !/bucket/i.test(message)
}

function failureOf(name: string, failure: Failure): ConfigError | UnavailableError {
  const { message, status } = failure
  if (status === undefined || status === 429 || status >= 500) {
    return new UnavailableError(`The ${name} cannot be asked: ${message}`, {
      hint: 'Try again later; if it stays so, look at the project’s Storage.',
      cause: failure,
    })
  }
  return new ConfigError(`The ${name} refuses to be read: ${message}`, {
    hint: 'Check the name of the bucket, and that the service role key is of the same project.',
    cause: failure,
  })
}
