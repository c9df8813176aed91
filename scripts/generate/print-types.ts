import type { Column, Relationship, Schema } from './catalog.ts'
import { typescriptType } from './postgres-types.ts'
import { printFunctions } from './print-functions.ts'
import { block, EMPTY, key } from './typescript-text.ts'

const HEADER = `// Generated from supabase/migrations by scripts/generate.ts. Do not edit: run \`npm run generate\`.

export type Json = string | number | boolean | null | { [key: string]: Json } | Json[]
`

/** The module that holds `Database`, in the shape that supabase-js and the Supabase CLI agreed on. */
export function printDatabaseTypes(schema: Schema): string {
  const database = block([
    `public: ${block([
      `Tables: ${printTables(schema)}`,
      `Views: ${EMPTY}`,
      `Functions: ${printFunctions(schema.functions)}`,
      `Enums: ${EMPTY}`,
      `CompositeTypes: ${EMPTY}`,
    ])}`,
  ])
  return `${HEADER}\nexport type Database = ${database}\n`
}

function printTables(schema: Schema): string {
  const columnsByTable = Map.groupBy(schema.columns, (column) => column.table)
  const relationshipsByTable = Map.groupBy(schema.relationships, (relationship) => relationship.table)
  return block(
    [...columnsByTable].map(([table, columns]) => {
      const parts = [
        `Row: ${block(columns.map((column) => `${key(column.name)}: ${valueType(column)}`))}`,
        `Insert: ${block(columns.map((column) => printWritable(column, isOptional(column))))}`,
        `Update: ${block(columns.map((column) => printWritable(column, true)))}`,
        `Relationships: ${printRelationships(relationshipsByTable.get(table) ?? [])}`,
      ]
      return `${key(table)}: ${block(parts)}`
    }),
  )
}

function valueType(column: Column): string {
  return column.nullable ? `${typescriptType(column.type)} | null` : typescriptType(column.type)
}

function isOptional(column: Column): boolean {
  return column.nullable || column.hasDefault
}

function printWritable(column: Column, optional: boolean): string {
  if (column.generated) return `${key(column.name)}?: never`
  return `${key(column.name)}${optional ? '?' : ''}: ${valueType(column)}`
}

function printRelationships(relationships: readonly Relationship[]): string {
  if (relationships.length === 0) return '[]'
  const entries = relationships.map((relationship) =>
    block([
      `foreignKeyName: ${JSON.stringify(relationship.name)}`,
      `columns: ${JSON.stringify(relationship.columns)}`,
      `isOneToOne: ${relationship.isOneToOne}`,
      `referencedRelation: ${JSON.stringify(relationship.referencedTable)}`,
      `referencedColumns: ${JSON.stringify(relationship.referencedColumns)}`,
    ]),
  )
  return block(
    entries.map((entry) => `${entry},`),
    '[',
    ']',
  )
}
