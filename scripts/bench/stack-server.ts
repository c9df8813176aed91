/** The other side of stack-process.ts: runs until its parent lets go of it. */

import { messageOf } from '../../src/errors.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { collectGarbage } from './garbage.ts'
import type { StackAnswer, StackRequest } from './stack-process.ts'

let stack: Stack | undefined

async function answerTo(request: StackRequest): Promise<StackAnswer> {
  if (request.kind === 'start') {
    stack = await startStack(request.options)
    const { plcUrl, production } = stack
    const { url, serviceKey, databaseUrl } = production
    return { kind: 'started', stack: { plcUrl, production: { url, serviceKey, databaseUrl } } }
  }
  if (request.kind === 'settle') {
    await collectGarbage()
    return { kind: 'settled' }
  }
  if (stack === undefined) throw new Error('The stack has not been started.')
  if (request.kind === 'execute') {
    await stack.production.query(request.sql)
    return { kind: 'executed' }
  }
  return { kind: 'account', account: await stack.createAccount(request.handle) }
}

process.on('message', async (request: StackRequest) => {
  const answer = await answerTo(request).catch(
    (error: unknown): StackAnswer => ({ kind: 'failed', message: messageOf(error) }),
  )
  process.send?.(answer)
})

process.on('disconnect', async () => {
  await stack?.[Symbol.asyncDispose]()
  process.exit(0)
})
