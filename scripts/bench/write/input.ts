import type { JsonObject } from '../../../src/events.ts'
import type { RecordToWrite } from '../../../src/pds/write.ts'

const COLLECTION = 'site.standard.document'
const WORDS = 'garden letter harbour winter stone river bread window morning island paper lantern'.split(' ')

/** Documents of about 4 KB, each of them another one. */
export function documents(count: number): RecordToWrite[] {
  return Array.from({ length: count }, (_, index) => ({
    collection: COLLECTION,
    rkey: tid(index),
    record: documentOf(index),
  }))
}

function documentOf(index: number): JsonObject {
  return {
    $type: COLLECTION,
    site: 'https://example.com',
    path: `/posts/${index}`,
    title: `Document ${index}`,
    publishedAt: new Date(Date.UTC(2024, 0, 1) + index * 60_000).toISOString(),
    tags: ['one', 'two'],
    textContent: words(index, 270),
    content: {
      $type: 'pub.leaflet.content',
      pages: Array.from({ length: 4 }, (_, page) => ({
        $type: 'pub.leaflet.pages.linearDocument',
        blocks: [
          {
            $type: 'pub.leaflet.pages.linearDocument#block',
            block: { $type: 'pub.leaflet.blocks.text', plaintext: words(index + page, 60) },
          },
        ],
      })),
    },
  }
}

function words(seed: number, count: number): string {
  return Array.from({ length: count }, (_, place) => WORDS[(seed * 7 + place * place) % WORDS.length]).join(
    ' ',
  )
}

/** A key such as an app would have made: 13 digits of base 32, later ones greater. */
function tid(index: number): string {
  const micros = BigInt(Date.UTC(2024, 0, 1) * 1000) + BigInt(index) * 60_000_000n
  let rest = micros << 10n
  let text = ''
  for (let digit = 0; digit < 13; digit++) {
    text = DIGITS.charAt(Number(rest & 31n)) + text
    rest >>= 5n
  }
  return text
}

const DIGITS = '234567abcdefghijklmnopqrstuvwxyz'
