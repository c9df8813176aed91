import type { Parameter, SchemaFunction } from './catalog.ts'
import { typescriptType } from './postgres-types.ts'
import { block, EMPTY, key } from './typescript-text.ts'

/** The `Functions` member: what `rpc()` takes and returns. Overloads become a union. */
export function printFunctions(functions: readonly SchemaFunction[]): string {
  if (functions.length === 0) return EMPTY
  const byName = Map.groupBy(functions, (each) => each.name)
  return block(
    [...byName].map(([name, overloads]) => `${key(name)}: ${overloads.map(printFunction).join(' | ')}`),
  )
}

function printFunction(each: SchemaFunction): string {
  const inputs = each.parameters.filter(({ mode }) => mode !== 'o' && mode !== 't')
  return block([
    `Args: ${printArguments(inputs, inputs.length - each.defaultCount)}`,
    `Returns: ${printReturns(each)}`,
  ])
}

function printArguments(inputs: readonly Parameter[], requiredCount: number): string {
  if (inputs.length === 0) return 'never'
  return block(
    inputs.map(
      ({ name, type }, position) =>
        `${key(name)}${position < requiredCount ? '' : '?'}: ${typescriptType(type)}`,
    ),
  )
}

function printReturns(each: SchemaFunction): string {
  const type = printReturnedValue(each)
  return each.returnsSet ? `${type}[]` : type
}

function printReturnedValue(each: SchemaFunction): string {
  if (each.returnTable !== null) {
    return `Database['public']['Tables'][${JSON.stringify(each.returnTable)}]['Row']`
  }
  const fields = each.parameters.filter(({ mode }) => mode === 'o' || mode === 'b' || mode === 't')
  // A single OUT parameter is returned bare; RETURNS TABLE is an object even with one column.
  if (fields.length > 1 || fields.some(({ mode }) => mode === 't')) {
    return block(fields.map(({ name, type }) => `${key(name)}: ${typescriptType(type)}`))
  }
  return typescriptType(each.returnType)
}
