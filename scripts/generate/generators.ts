import { databaseTypes } from './database-types.ts'
import type { Generator } from './generator.ts'
import { readme } from './readme.ts'
import { reportJsonSchema } from './report-schema.ts'

/** Everything that `npm run generate` writes. A new generator is a new line here. */
export const GENERATORS: readonly Generator[] = [databaseTypes, reportJsonSchema, readme]
