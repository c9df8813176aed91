import type { Json, JsonObject } from '../../events.ts'
import { blobOf, type Picture, pictureOf } from './images.ts'
import type { WrittenRecord } from './record.ts'

/** One post in so many has a cover, and one in so many of those shares it with the others. */
const COVER_EVERY = 4
const SHARED_COVER_EVERY = 12
/** One post in so many has a picture in its text. */
const BLOCK_EVERY = 5

/** The part of an author's content that can have pictures. */
interface Plain {
  publications: readonly [WrittenRecord, WrittenRecord]
  documents: WrittenRecord[]
}

/**
 * The content with pictures in it: covers, pictures in texts, the publications' icons and a background. Beside
 * these, records are what they are without.
 */
export function illustrated<T extends Plain>(content: T, seed: string): T & { pictures: readonly Picture[] } {
  const pictures = new Map<string, Picture>()
  const take = (name: string, width?: number, height?: number): Picture => {
    const picture = pictureOf(`${seed}/${name}`, width, height)
    pictures.set(picture.cid, picture)
    return picture
  }
  const [first, second] = content.publications
  const publications = [
    withFields(first, {
      icon: blobOf(take('icon/0', 48, 48)),
      theme: {
        ...fieldsOf(first.record.theme),
        backgroundImage: { image: blobOf(take('background')), width: 500, repeat: true },
      },
    }),
    withFields(second, { icon: blobOf(take('icon/1', 48, 48)) }),
  ] as const
  const documents = content.documents.map((document, index) => {
    const cover = index % SHARED_COVER_EVERY === 1 ? 'cover/shared' : `cover/${index}`
    const withCover =
      index % COVER_EVERY === 1 ? withFields(document, { coverImage: blobOf(take(cover)) }) : document
    return index % BLOCK_EVERY === 2 ? withPictureInText(withCover, take(`text/${index}`)) : withCover
  })
  return { ...content, publications, documents, pictures: [...pictures.values()] }
}

function withFields(written: WrittenRecord, fields: JsonObject): WrittenRecord {
  return { ...written, record: { ...written.record, ...fields } }
}

/** At the end of the last page. */
function withPictureInText(written: WrittenRecord, picture: Picture): WrittenRecord {
  const content = fieldsOf(written.record.content)
  const pages = Array.isArray(content.pages) ? content.pages.map(fieldsOf) : []
  const last = pages.pop() ?? {}
  const block = {
    $type: 'pub.leaflet.blocks.image',
    image: blobOf(picture),
    aspectRatio: { width: 64, height: 40 },
    alt: 'The weir, from above.',
  }
  const blocks = [...(Array.isArray(last.blocks) ? last.blocks : []), { block }]
  return withFields(written, { content: { ...content, pages: [...pages, { ...last, blocks }] } })
}

function fieldsOf(value: Json | undefined): JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {}
}
