// The peer of the benchmark in Node: fastify and undici. See ../../README.md.
import fastify from 'fastify'
import { Services } from './services.js'

const firstPort = Number(process.env.SERVICES_PORT)
const quick = new Services(firstPort, 6)
const slow = new Services(firstPort + 10, 6)

const app = fastify({ logger: false })

/** W1, and W5 with the slow services. */
async function page (services, id) {
  const part = encodeURIComponent(id)
  const [pricing, inventory, profile, recommendations, shipping, promotions] = await Promise.all([
    services.json(0, `/prices/${part}`),
    services.json(1, `/stock/${part}`),
    services.json(2, `/profiles/${part}`),
    services.json(3, `/recommendations/${part}`),
    services.json(4, `/shipping/${part}`),
    services.json(5, `/promotions/${part}`)
  ])
  return {
    id,
    price: pricing,
    shipping,
    available: inventory.available,
    warehouse: inventory.warehouse.id,
    name: profile.first_name,
    postcode: profile.address.postcode,
    recommended: recommendations.items,
    promotion: promotions.best.label
  }
}

app.get('/w1/:id', (request) => page(quick, request.params.id))
app.get('/w5/:id', (request) => page(slow, request.params.id))

app.get('/w2/:id', async (request) => {
  const order = await quick.json(0, `/orders/${encodeURIComponent(request.params.id)}`)
  const product = encodeURIComponent(order.product_id)
  const [customer, whole] = await Promise.all([
    quick.json(1, `/customers/${encodeURIComponent(order.customer_id)}`),
    quick.json(2, `/products/${product}`)
  ])
  const quote = await quick.json(3, `/quotes/${product}?tier=${encodeURIComponent(customer.tier)}`)
  return { order: order.id, quantity: order.quantity, customer: customer.name, product: whole, quote }
})

app.get('/w3/:id', async (request, reply) => {
  const { statusCode, headers, body } = await quick.get(0, `/document/${encodeURIComponent(request.params.id)}`)
  reply.code(statusCode).header('content-type', headers['content-type'])
  return Buffer.from(body)
})

app.get('/w4/:id', async (request) => {
  const part = encodeURIComponent(request.params.id)
  const [catalogue, history, reviews] = await Promise.all([
    quick.json(0, `/catalogue/${part}`),
    quick.json(1, `/history/${part}`),
    quick.json(2, `/reviews/${part}`)
  ])
  return { catalogue, orders: history.summary.total, rating: reviews.summary.total }
})

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
