import { describe, expect, test } from 'vitest'
import { blastRadiusOf, closureOf, parentsFirst } from '../../../src/backup/closure.ts'
import { type Catalog, catalogOf, type ForeignKey } from '../../../src/database/catalog.ts'
import { ConfigError } from '../../../src/errors.ts'
import type { VirtualReference } from '../../../src/events.ts'

const column = (name: string, type: string) => ({
  name,
  type,
  nullable: true,
  default: null,
  generated: false,
  identity: null,
})

type Link = [child: string, columns: string, parent: string, onDelete: ForeignKey['onDelete']]

/** A catalog with all tables that the links name. Columns are separated by `+`; parents are referred to by `id`. */
function catalog(...links: Link[]): Catalog {
  const names = new Set(links.flatMap(([child, , parent]) => [child, parent]))
  return catalogOf({
    instance: 'here',
    tables: [...names].map((name) => ({
      name,
      columns: [],
      primaryKey: ['id'],
      uniqueKeys: [['id']],
      triggers: [],
    })),
    foreignKeys: links.map(([child, columns, parent, onDelete]) => ({
      name: `${child}_${columns}`,
      child,
      childSchema: 'public',
      parent,
      parentSchema: 'public',
      columns: columns.split('+'),
      parentColumns: columns.split('+').map((column) => `${column}_there`),
      onDelete,
      deferrable: false,
    })),
  })
}

function root(table: string) {
  return { section: table, table, uriColumn: 'uri', recordColumn: 'record' }
}

/** `table: key, key` per table, in order. */
function closure(of: Catalog, roots: string[], untouchableTables: string[] = []): string[] {
  const tables = closureOf(of, { roots: roots.map(root), untouchableTables })
  return tables.map(({ table, edges }) => `${table}: ${edges.map((edge) => edge.name).join(', ')}`)
}

describe('closureOf', () => {
  test('follows cascades two steps deep and keeps composite keys whole', () => {
    const found = closureOf(
      catalog(['replies', 'doc+number', 'comments', 'cascade'], ['comments', 'doc', 'documents', 'cascade']),
      { roots: [root('documents')], untouchableTables: [] },
    )
    expect(found.map(({ table }) => table)).toEqual(['documents', 'comments', 'replies'])
    expect(found[2]?.edges).toMatchObject([
      { columns: ['doc', 'number'], parentColumns: ['doc_there', 'number_there'] },
    ])
  })

  test('collects what set null and set default touch, and goes no further from there', () => {
    const of = catalog(
      ['drafts', 'doc', 'documents', 'set null'],
      ['pins', 'doc', 'documents', 'set default'],
      ['draft_tags', 'draft', 'drafts', 'cascade'],
    )
    expect(closure(of, ['documents'])).toEqual(['documents: ', 'drafts: drafts_doc', 'pins: pins_doc'])
  })

  test('goes further from a table that is both emptied and cascaded to', () => {
    const of = catalog(
      ['drafts', 'doc', 'documents', 'set null'],
      ['drafts', 'publication', 'publications', 'cascade'],
      ['draft_tags', 'draft', 'drafts', 'cascade'],
    )
    expect(closure(of, ['documents', 'publications'])).toEqual([
      'documents: ',
      'publications: ',
      'drafts: drafts_doc, drafts_publication',
      'draft_tags: draft_tags_draft',
    ])
  })

  test('does not follow keys that refuse a delete, nor upwards, but orders by them', () => {
    const of = catalog(
      ['pages', 'publication', 'publications', 'cascade'],
      ['pages', 'sort', 'links', 'no action'],
      ['links', 'publication', 'publications', 'cascade'],
      ['blocks', 'publication', 'publications', 'restrict'],
      ['publications', 'owner', 'identities', 'cascade'],
    )
    expect(closure(of, ['publications'])).toEqual([
      'publications: ',
      'links: links_publication',
      'pages: pages_publication',
    ])
  })

  test('stays out of untouchable tables and of what only they lead to', () => {
    const of = catalog(
      ['identities', 'main', 'publications', 'cascade'],
      ['profiles', 'did', 'identities', 'cascade'],
      ['links', 'publication', 'publications', 'cascade'],
    )
    expect(closure(of, ['publications'], ['identities'])).toEqual([
      'publications: ',
      'links: links_publication',
    ])
  })

  test('ends on self references and cycles, always in the same order', () => {
    const of = catalog(
      ['documents', 'parent', 'documents', 'cascade'],
      ['a', 'b', 'b', 'cascade'],
      ['b', 'a', 'a', 'cascade'],
      ['a', 'doc', 'documents', 'cascade'],
      ['leaf', 'b', 'b', 'cascade'],
    )
    expect(closure(of, ['documents'])).toEqual([
      'documents: documents_parent',
      'b: b_a',
      'a: a_doc, a_b',
      'leaf: leaf_b',
    ])
  })

  test('follows two keys between the same tables', () => {
    const of = catalog(
      ['mentions', 'from', 'documents', 'cascade'],
      ['mentions', 'to', 'documents', 'cascade'],
    )
    expect(closure(of, ['documents'])).toEqual(['documents: ', 'mentions: mentions_from, mentions_to'])
  })

  test('refuses a root that the database does not have', () => {
    expect(() => closure(catalog(['a', 'b', 'b', 'cascade']), ['documents'])).toThrow(ConfigError)
  })
})

describe('blastRadiusOf', () => {
  const radius = (
    of: Catalog,
    untouchableTables: string[] = [],
    virtualReferences: VirtualReference[] = [],
  ) => blastRadiusOf(of, { roots: [root('documents')], untouchableTables, virtualReferences })

  test('says how far down a table is, and whether rows go or only lose a value', () => {
    const { tables } = radius(
      catalog(
        ['links', 'doc', 'documents', 'cascade'],
        ['lines', 'link', 'links', 'cascade'],
        ['lines', 'doc', 'documents', 'set null'],
        ['drafts', 'line', 'lines', 'set default'],
      ),
    )
    expect(tables.map(({ table, depth, action }) => [table, depth, action])).toEqual([
      ['documents', 0, 'root'],
      ['links', 1, 'deleted'],
      ['lines', 2, 'deleted'],
      ['drafts', 3, 'emptied'],
    ])
  })

  test('names the references at which it ends', () => {
    const { tables, blocking, untouchable } = radius(
      catalog(
        ['owners', 'main', 'documents', 'cascade'],
        ['owners', 'spare', 'documents', 'no action'],
        ['locks', 'doc', 'documents', 'restrict'],
        ['locks', 'other', 'elsewhere', 'restrict'],
        ['lock_parts', 'lock', 'locks', 'cascade'],
      ),
      ['owners'],
    )
    expect(tables.map(({ table }) => table)).toEqual(['documents'])
    expect(blocking.map(({ name }) => name)).toEqual(['owners_spare', 'locks_doc'])
    expect(untouchable.map(({ name }) => name)).toEqual(['owners_main'])
  })

  test('goes along virtual references, and leaves those that hang', () => {
    const of = catalogOf({
      instance: 'here',
      tables: ['documents', 'notes', 'marks', 'echoes', 'note_parts'].map((name) => ({
        name,
        columns: [column('uri', 'text'), column('data', 'jsonb')],
        primaryKey: ['uri'],
        uniqueKeys: [['uri']],
        triggers: [],
      })),
      foreignKeys: [],
    })
    const reference = (child: string, parent: string, onDelete: VirtualReference['onDelete']) =>
      ({ child, path: ['uri'], parent, parentColumn: 'uri', onDelete }) as const
    const { tables, hanging, blocking } = radius(
      of,
      [],
      [
        { ...reference('notes', 'documents', 'cascade'), path: ['data', 'of'] },
        reference('note_parts', 'notes', 'cascade'),
        reference('marks', 'documents', 'set null'),
        reference('echoes', 'notes', 'no action'),
      ],
    )
    expect(tables.map(({ table, action }) => [table, action])).toEqual([
      ['documents', 'root'],
      ['notes', 'deleted'],
      ['marks', 'emptied'],
      ['note_parts', 'deleted'],
    ])
    expect(hanging.map(({ name }) => name)).toEqual(['echoes.uri'])
    expect(blocking).toEqual([])
  })
})

describe('parentsFirst', () => {
  test('cuts a cycle where a value may be empty at first, or is checked at the end', () => {
    const edge = (
      child: string,
      parent: string,
      onDelete: ForeignKey['onDelete'],
      initiallyDeferred = false,
    ) => ({
      child,
      parent,
      onDelete,
      initiallyDeferred,
    })
    const seasons = [edge('seasons', 'episodes', 'set null'), edge('episodes', 'seasons', 'cascade')]
    expect(parentsFirst(['seasons', 'episodes'], seasons)).toEqual(['seasons', 'episodes'])
    expect(parentsFirst(['episodes', 'seasons'], seasons)).toEqual(['seasons', 'episodes'])
    const pairs = [edge('a', 'b', 'no action', true), edge('b', 'a', 'no action')]
    expect(parentsFirst(['b', 'a'], pairs)).toEqual(['a', 'b'])
    // Outside a cycle such a reference counts like any other.
    expect(parentsFirst(['drafts', 'documents'], [edge('drafts', 'documents', 'set null')])).toEqual([
      'documents',
      'drafts',
    ])
  })

  test('leaves unrelated tables as they are and puts what hangs off a cycle after it', () => {
    const { foreignKeys } = catalog(
      ['c', 'b', 'b', 'cascade'],
      ['a', 'b', 'b', 'cascade'],
      ['b', 'a', 'a', 'cascade'],
    )
    expect(parentsFirst(['z', 'c', 'a', 'b'], foreignKeys)).toEqual(['z', 'a', 'b', 'c'])
  })
})
