import { type Author, createAuthor, letters, nextMessage } from '../firehose/author.ts'

/** One message, and where in it the four bytes of its seq are. */
export interface PreparedFrame {
  bytes: Buffer
  seqAt: number
}

export interface ScopedInput {
  wanted: string
  /** The wanted account's commits, each following the one before. */
  own: PreparedFrame[]
  /** One commit of each other account. */
  others: PreparedFrame[]
  /** DID documents by DID. */
  didDocuments: Record<string, object>
}

export const COLLECTION = 'site.standard.document'
/** From here on a seq takes four bytes in CBOR, whatever is written there. */
export const FIRST_SEQ = 1_000_000_000
/** Makes a frame of about 2.3 KB, with its proof. */
const TEXT = 'garden letter harbour winter stone river bread window morning island paper '.repeat(18)

/** Commits of one document each by many accounts. */
export async function scopedInput(accountCount: number, ownCount: number): Promise<ScopedInput> {
  const wanted = await createAuthor(didOf(0))
  const input: ScopedInput = {
    wanted: wanted.did,
    own: [],
    others: [],
    didDocuments: { [wanted.did]: wanted.document },
  }
  for (let index = 0; index < ownCount; index++) input.own.push(await nextFrame(wanted, index))
  for (let index = 1; index < accountCount; index++) {
    const author = await createAuthor(didOf(index))
    input.others.push(await nextFrame(author, 0))
    input.didDocuments[author.did] = author.document
  }
  return input
}

function didOf(index: number): string {
  return `did:plc:bench${letters(index, 4)}account2345ghi`
}

async function nextFrame(author: Author, index: number): Promise<PreparedFrame> {
  const rkey = `3bench${index.toString().padStart(7, '0')}`
  const record = {
    $type: COLLECTION,
    site: 'https://example.com',
    title: `Document ${index}`,
    textContent: TEXT,
  }
  return prepared(await nextMessage(author, { collection: COLLECTION, rkey, record }, FIRST_SEQ))
}

/** The key `seq` in CBOR, and the byte that says that four more follow. */
const SEQ_KEY = Buffer.from('cseq\x1a', 'latin1')

function prepared(bytes: Buffer): PreparedFrame {
  const at = bytes.indexOf(SEQ_KEY)
  if (at === -1) throw new Error('The frame has no seq of four bytes.')
  return { bytes, seqAt: at + SEQ_KEY.length }
}
