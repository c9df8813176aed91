import { messageOf } from '../errors.ts'

/**
 * What AsyncDisposableStack is, for Node 22, which has Symbol.asyncDispose but neither that class nor `using`.
 * States: open (takes steps) -> moved or disposed (takes none).
 */
export class Cleanup implements AsyncDisposable {
  #steps: (() => unknown)[] = []
  #open = true

  /** Runs `step` on disposal, after everything that was added later. */
  defer(step: () => unknown): void {
    if (!this.#open) throw new Error('This cleanup has already run or been moved.')
    this.#steps.push(step)
  }

  /** Adds the disposal of `resource` and returns it. */
  use<T extends AsyncDisposable>(resource: T): T {
    this.defer(() => resource[Symbol.asyncDispose]())
    return resource
  }

  /** Runs all steps, last added first. One that throws does not keep the others from running. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#open = false
    const errors: unknown[] = []
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) throw new AggregateError(errors, 'Several steps of the cleanup failed.')
  }
}

/**
 * Builds a resource out of several: when `build` throws, what it had started is disposed before the error goes on;
 * otherwise the result owns it all.
 */
export async function assemble<T extends object>(
  build: (cleanup: Cleanup) => Promise<T>,
): Promise<T & AsyncDisposable> {
  const cleanup = new Cleanup()
  try {
    const built = await build(cleanup)
    return Object.assign(built, { [Symbol.asyncDispose]: () => cleanup[Symbol.asyncDispose]() })
  } catch (error) {
    try {
      await cleanup[Symbol.asyncDispose]()
    } catch (tidyingError) {
      throw new AggregateError([error, tidyingError], `${messageOf(error)} (tidying up failed, too)`)
    }
    throw error
  }
}

/**
 * Starts resources at the same time. When one fails, those that started are disposed before the first error goes
 * on: Promise.all would go on while the others are still starting.
 */
export async function startTogether<T extends readonly AsyncDisposable[]>(
  cleanup: Cleanup,
  starts: { [K in keyof T]: Promise<T[K]> },
): Promise<T> {
  const settled = await Promise.allSettled(starts)
  const started: AsyncDisposable[] = []
  for (const result of settled) {
    if (result.status === 'fulfilled') started.push(cleanup.use(result.value as AsyncDisposable))
  }
  for (const result of settled) if (result.status === 'rejected') throw result.reason
  return started as unknown as T
}
