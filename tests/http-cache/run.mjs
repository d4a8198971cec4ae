// Runs tests of the suite against the cache at BASE: `node run.mjs SUITE FETCH BASE [ID]...`, all of
// them without an ID. On stdout, as JSON by id: kind, what the test asks, whether it passed, and if
// not, why. With DUMP in the environment the suite tells what is sent, on stderr.
import { pathToFileURL } from 'node:url'

const [suite, nodeFetch, base, ...ids] = process.argv.slice(2)
const load = path => import(pathToFileURL(path))
const { default: groups } = await load(`${suite}/tests/index.mjs`)
const { default: surrogate } = await load(`${suite}/tests/surrogate-control.mjs`)
const { runTests, getResults } = await load(`${suite}/client/runner.mjs`)
const { default: fetch } = await load(nodeFetch)

// A test pauses for three seconds at most twice; a batch of a hundred is as slow as its slowest test.
const LIMIT = 180_000
const BATCH = 100

const tests = [...groups, surrogate].flatMap(group => group.tests)
  .filter(test => !test.browser_only && (ids.length === 0 || ids.includes(test.id)))
const unknown = ids.filter(id => !tests.some(test => test.id === id))
if (unknown.length > 0) {
  console.error(`the suite has no test ${unknown.join(', ')}`)
  process.exit(2)
}

setTimeout(() => {
  console.error(`the suite has not ended within ${LIMIT / 1000} s`)
  process.exit(2)
}, LIMIT).unref()

// Stdout is ours.
console.log = console.error
for (const test of tests) test.dump = Boolean(process.env.DUMP)
await runTests([{ tests }], fetch, false, base, BATCH)

const results = getResults()
const rows = tests.map(test => [test.id, {
  kind: test.kind ?? 'required',
  asks: test.name,
  passed: results[test.id] === true,
  message: results[test.id] === true ? undefined : results[test.id].join(': ')
}])
process.stdout.write(JSON.stringify(Object.fromEntries(rows), null, 1) + '\n')
