import { describe, expect, test } from 'vitest'
import { databaseErrorOf, isMissingObject, isTooMuch } from '../../../src/database/failure.ts'

const failed = (code: string, status: number, message = 'it says no') =>
  databaseErrorOf({ message, ...(code === '' ? {} : { code }) }, status, 'production', { table: 'documents' })

describe('may pass by itself', () => {
  test.each([
    ['no connection', '', 0],
    ['a gateway', '', 502],
    ['PostgREST has no database', 'PGRST001', 503],
    ['PostgREST waited for a connection', 'PGRST003', 504],
    ['another gateway, which answers in HTML', '', 522],
    ['a paused project', '', 540],
    ['a server that fell over', '', 500],
    ['a rate limit', '', 429],
    ['a request that took too long', '', 408],
    ['a deadlock', '40P01', 500],
    ['a serialisation failure', '40001', 500],
    ['a statement timeout', '57014', 500],
    ['a server that shuts down', '57P01', 500],
    ['too many connections', '53300', 500],
    ['a lost connection', '08006', 503],
  ])('%s', (_, code, status) => {
    expect(failed(code, status)).toMatchObject({ name: 'UnavailableError', exitCode: 75, table: 'documents' })
    expect(failed(code, status).shouldRetry()).toBe(true)
  })
})

describe('is for the operator to change', () => {
  test.each([
    ['a key that is not known', '', 401],
    ['a role that may not', '42501', 403],
    ['a JWT that has expired', 'PGRST301', 401],
    ['a missing function', 'PGRST202', 404],
    ['a missing table', 'PGRST205', 404],
    ['a missing function of Postgres', '42883', 404],
  ])('%s', (_, code, status) => {
    expect(failed(code, status)).toMatchObject({ name: 'ConfigError', exitCode: 2 })
    expect(failed(code, status).hint).toBeTruthy()
  })
})

describe('is refused for good', () => {
  test.each([
    ['a unique key', '23505', 409],
    ['a foreign key', '23503', 409],
    ['a check', '23514', 400],
    ['a bad value', '22008', 400],
    ['an error of Postgres itself', 'XX000', 500],
    ['a body that is too large', '', 413],
    ['an error without a code', '', 400],
  ])('%s', (_, code, status) => {
    const error = failed(code, status)
    expect(error).toMatchObject({ name: 'DatabaseError', exitCode: 3, code: code || `HTTP${status}` })
    expect(error.shouldRetry()).toBe(false)
  })
})

test('only missing functions and tables are missing objects', () => {
  expect(isMissingObject(failed('PGRST202', 404))).toBe(true)
  expect(isMissingObject(failed('42P01', 404))).toBe(true)
  expect(isMissingObject(failed('42501', 403))).toBe(false)
  expect(isMissingObject(failed('23505', 409))).toBe(false)
  expect(isMissingObject(new Error('PGRST202'))).toBe(false)
})

test.each([
  ['a statement timeout', '57014', 500, true],
  ['memory that ran out', '53200', 500, true],
  ['a gateway that has waited long enough', '', 504, true],
  ['another one', '', 524, true],
  ['no free connection', 'PGRST003', 504, false],
  ['a deadlock', '40P01', 500, false],
  ['no connection', '', 0, false],
  ['what is refused for good', '23514', 400, false],
])('whether a smaller call may do: %s', (_, code, status, isSo) => {
  expect(isTooMuch(failed(code, status))).toBe(isSo)
})

test('a message is one line, without what the details may hold of a row', () => {
  const error = databaseErrorOf(
    {
      message: 'duplicate key\nDETAIL: (email)=(a@b.example)',
      details: 'Key (email)=(a@b.example)',
      code: '23505',
    },
    409,
    'production',
  )
  expect(error.message).toContain('duplicate key')
  expect(error.message).not.toContain('a@b.example')
})
