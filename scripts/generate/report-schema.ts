import { z } from 'zod'
import { reportSchema } from '../../src/report/report.ts'
import type { Generator } from './generator.ts'

/** The contract of `--json`, for readers that are not written in TypeScript. */
export const reportJsonSchema: Generator = {
  path: 'src/report/report.schema.json',
  generate: async () => {
    const schema = z.toJSONSchema(reportSchema, { target: 'draft-2020-12' })
    return `${JSON.stringify({ title: 'firehose-replay report', ...schema }, null, 2)}\n`
  },
}
