import { databaseTypes } from './database-types.ts'
import type { Generator } from './generator.ts'

/** Everything that `npm run generate` writes. A new generator is a new line here. */
export const GENERATORS: readonly Generator[] = [databaseTypes]
