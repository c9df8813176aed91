/** Fills in the login form of a PDS without a browser: what its page sends, sent by hand. */

import { request } from 'node:http'

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

/** @returns the address that the PDS sends the browser back to. */
export async function fillInLoginForm(
  authorizeUrl: URL,
  { did, username = did, password }: { did: string; username?: string; password: string },
): Promise<URL> {
  const page = await send(authorizeUrl, 'GET', {
    'sec-fetch-site': 'none',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
  })
  const cookies = [page.headers['set-cookie'] ?? []].flat().map((cookie) => cookie.split(';')[0] ?? '')
  const csrf = cookies.find((cookie) => cookie.startsWith('csrf-token='))?.slice('csrf-token='.length) ?? ''
  const call = async (name: string, body: object, bearer?: string): Promise<Record<string, unknown>> => {
    const url = new URL(`/@atproto/oauth-provider/~api/${name}`, authorizeUrl)
    const answer = await send(
      url,
      'POST',
      {
        'content-type': 'application/json',
        'sec-fetch-site': 'same-origin',
        'sec-fetch-mode': 'same-origin',
        origin: authorizeUrl.origin,
        referer: authorizeUrl.href,
        'x-csrf-token': csrf,
        cookie: cookies.join('; '),
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
      },
      JSON.stringify(body),
    )
    if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${answer.text}`)
    return JSON.parse(answer.text)
  }
  const signedIn = await call('sign-in', { locale: 'en', username, password, remember: false })
  const token = typeof signedIn.ephemeralToken === 'string' ? signedIn.ephemeralToken : undefined
  const { url } = await call('consent', { did }, token)
  const redirect = await send(new URL(String(url)), 'GET', {
    referer: authorizeUrl.href,
    cookie: cookies.join('; '),
    'sec-fetch-site': 'same-origin',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
  })
  return new URL(String(redirect.headers.location ?? url))
}

/** Not with fetch: it sets the sec-fetch headers itself, which the form's server looks at. */
function send(url: URL, method: string, headers: Record<string, string>, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers }, (incoming) => {
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (chunk) => {
        text += chunk
      })
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text }))
      incoming.on('error', reject)
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}
