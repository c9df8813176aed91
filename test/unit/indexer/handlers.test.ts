import { expect, test } from 'vitest'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import { ConfigError } from '../../../src/errors.ts'
import { handlersOf } from '../../../src/indexer/batch.ts'

test('finds a handler by its collection', () => {
  const handlers = handlersOf(leaflet)
  expect(handlers.size).toBe(11)
  expect(handlers.get('site.standard.document')?.derives[0].table).toBe('documents')
  expect(handlers.get('app.bsky.feed.post')).toBeUndefined()
})

test('refuses two handlers for one collection', () => {
  const [first] = leaflet.handlers
  const twice = { ...leaflet, handlers: [...leaflet.handlers, ...(first ? [first] : [])] }
  expect(() => handlersOf(twice)).toThrow(ConfigError)
  expect(() => handlersOf(twice)).toThrow('two handlers for site.standard.publication')
})
