import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** One of our functions as this version of the program brings it. */
export interface MigrationFunction {
  name: string
  /** Of its body, as `pg_proc.prosrc` holds it. */
  md5: string
}

/** At the same place in the repository and in the package. */
const FOLDER = fileURLToPath(new URL('../../../supabase/migrations/', import.meta.url))
const FILE = /_firehose_replay\.sql$/

/** The functions of the migration that comes with this program. */
export async function ownMigration(): Promise<MigrationFunction[]> {
  const files = (await readdir(FOLDER)).filter((name) => FILE.test(name)).toSorted()
  const texts = await Promise.all(files.map((name) => readFile(`${FOLDER}${name}`, 'utf8')))
  return functionsIn(texts.join('\n'))
}

/** A later definition of a function is the one that holds. */
export function functionsIn(sql: string): MigrationFunction[] {
  const definitions = /create (?:or replace )?function public\.(\w+)\([\s\S]*? as \$\$([\s\S]*?)\$\$;/g
  const byName = new Map(
    [...sql.matchAll(definitions)].map(([, name = '', body = '']) => [
      name,
      createHash('md5').update(body).digest('hex'),
    ]),
  )
  return [...byName].map(([name, md5]) => ({ name, md5 }))
}
