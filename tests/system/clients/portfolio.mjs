// Node's own fetch: connections are kept.

import { readFileSync } from 'node:fs'

const [url, token] = process.argv.slice(2)
const body = readFileSync(0, 'utf8')

async function ask() {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
  const response = await fetch(url, { method: 'POST', headers, body })
  return response.text()
}

const [first, second] = [await ask(), await ask()]
if (first !== second) throw new Error('the same request was answered in two ways')
process.stdout.write(first)
