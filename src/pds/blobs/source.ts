/** Where a blob's bytes may be had. What it gives is hostile until checked: see BlobFinder. */
export interface BlobSource {
  /** For messages and plans: says which folder, bucket or host. */
  readonly name: string
  /**
   * @returns undefined when the source says that it does not have this blob
   * @throws UnavailableError when it cannot say now; ConfigError when it was named wrongly and so could never say;
   *   VerificationError when it must not be asked, or sends too much
   */
  fetch(cid: string, did: string): Promise<Uint8Array | undefined>
}

/**
 * Largest blob that is read, since blobs are held in memory. The reference PDS takes uploads of 5 MiB unless its
 * operator allows more; this is twenty times that.
 */
export const MAX_BLOB_BYTES = 100 * 1024 ** 2
