// Compares results of `run.mjs` with the tables of a document, which list every test that does not
// pass: `node judge.mjs DOCUMENT [--ids] RESULTS...`, later results before earlier ones. Exit 1 if a
// test fails that is not listed, one passes that is, a row does not say what the suite says, or nothing
// says why.
// With `--ids` only the ids of such tests are said, for another try.
import { readFileSync } from 'node:fs'

const [document, ...rest] = process.argv.slice(2)
const onlyIds = rest[0] === '--ids'
const files = onlyIds ? rest.slice(1) : rest
const results = Object.assign({}, ...files.map(file => JSON.parse(readFileSync(file, 'utf8'))))

const ROW = /^\| `([^`]+)` \| (\w+) \| (.+) \|$/
const listed = new Map()
const faults = []
const blame = (id, text) => faults.push({ id, text })
let reason = ''
for (const line of readFileSync(document, 'utf8').split('\n')) {
  if (line.startsWith('#')) reason = line.startsWith('### ') ? line : ''
  if (!line.startsWith('| `')) continue
  const row = ROW.exec(line)
  if (!row) {
    blame(line, 'is no row of id, kind and what the test asks')
    continue
  }
  const [, id, kind, asks] = row
  if (!reason) blame(id, 'stands under no heading of the third level, which says why it does not pass')
  if (listed.has(id)) blame(id, 'is listed twice')
  listed.set(id, { kind, asks })
}

for (const [id, { kind, asks }] of listed) {
  const result = results[id]
  if (!result) {
    blame(id, 'is listed, but the suite has no such test')
    continue
  }
  if (kind !== result.kind) blame(id, `is ${result.kind}, and listed as ${kind}`)
  if (asks !== result.asks) blame(id, `is listed with other words than the suite's: ${result.asks}`)
  if (result.passed) blame(id, 'passes, but is listed: take it off the list')
}
for (const [id, result] of Object.entries(results)) {
  if (result.passed || listed.has(id)) continue
  blame(id, `fails: ${result.message}\n  | \`${id}\` | ${result.kind} | ${result.asks} |`)
}

if (onlyIds) {
  const known = faults.map(({ id }) => id).filter(id => id in results)
  console.log([...new Set(known)].join(' '))
} else {
  for (const { id, text } of faults) console.error(`${id}: ${text}`)
  for (const kind of ['required', 'optimal', 'check']) {
    const all = Object.values(results).filter(result => result.kind === kind)
    console.log(`${kind}: ${all.filter(result => result.passed).length} of ${all.length} pass`)
  }
  process.exit(faults.length > 0 ? 1 : 0)
}
