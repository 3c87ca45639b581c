// One real Node client sends a small journey. usage: node send.mjs CLIENT WRITE_KEY HOST
const [client, key, host] = process.argv.slice(2)
const order = {
  order_id: 'o-1', total: 25,
  products: [{ product_id: 'p-1', price: 10, quantity: 2 }, { product_id: 'p-2', price: 5, quantity: 1 }],
}
const view = { product_id: 'p-1', price: 10 }
const traits = { email: 'ann@example.com', city: '杭州' }

if (client === 'segment') {
  const { Analytics } = await import('@segment/analytics-node')
  const analytics = new Analytics({ writeKey: key, host })
  analytics.identify({ userId: 'ann', traits })
  analytics.track({ userId: 'ann', event: 'Product Viewed', properties: view })
  analytics.track({ userId: 'ann', event: 'Order Completed', properties: order })
  await analytics.closeAndFlush()
} else if (client === 'rudder') {
  const { default: module } = await import('@rudderstack/rudder-sdk-node')
  const Analytics = module.default ?? module
  const analytics = new Analytics(key, { dataPlaneUrl: host })
  analytics.identify({ userId: 'ann', traits })
  analytics.track({ userId: 'ann', event: 'Product Viewed', properties: view })
  analytics.track({ userId: 'ann', event: 'Order Completed', properties: order })
  await new Promise((done) => analytics.flush(done))
} else if (client === 'posthog') {
  const { PostHog } = await import('posthog-node')
  const posthog = new PostHog(key, { host })
  posthog.identify({ distinctId: 'ann', properties: traits })
  posthog.capture({ distinctId: 'ann', event: 'Product Viewed', properties: view })
  posthog.capture({ distinctId: 'ann', event: 'Order Completed', properties: order })
  await posthog.shutdown()
}
