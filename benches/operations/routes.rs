//! The routes of the benches. A call's name says which body answers it: see `bodies`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anabranch::check;
use anabranch::plan::{CallId, Route};

/// Bodies of three sizes, of which a few fields are read, and one that is moved as it is.
pub const FIELDS: &str = r#"
services: { service: { url: "http://127.0.0.1:21000" } }
---
route: GET /fields/{id}
calls:
  small: { service: service, get: "/prices/{{request.path.id}}" }
  middle: { service: service, get: "/recommendations/{{request.path.id}}" }
  large: { service: service, get: "/reviews/{{request.path.id}}" }
  moved: { service: service, get: "/catalogue/{{request.path.id}}" }
response:
  body:
    amount: $.small.body.amount
    currency: $.small.body.currency
    first: $.small.body.discounts[0].percent
    items: $.middle.body.items
    rating: $.large.body.summary.total
    catalogue: $.moved.body
"#;

/// Six calls side by side; two bodies are moved whole, of the others come fields and one list.
pub const SIX: &str = r#"
services: { service: { url: "http://127.0.0.1:21000" } }
---
route: GET /six/{id}
timeout: 500ms
calls:
  pricing: { service: service, get: "/prices/{{request.path.id}}" }
  inventory: { service: service, get: "/stock/{{request.path.id}}" }
  profile: { service: service, get: "/profiles/{{request.path.id}}" }
  recommendations: { service: service, get: "/recommendations/{{request.path.id}}" }
  shipping: { service: service, get: "/shipping/{{request.path.id}}" }
  promotions: { service: service, get: "/promotions/{{request.path.id}}" }
response:
  body:
    id: $.request.path.id
    price: $.pricing.body
    shipping: $.shipping.body
    available: $.inventory.body.available
    warehouse: $.inventory.body.warehouse.id
    name: $.profile.body.first_name
    postcode: $.profile.body.address.postcode
    recommended: $.recommendations.body.items
    promotion: $.promotions.body.best.label
"#;

/// An order, then its customer and product, then a quote that reads both.
pub const CHAIN: &str = r#"
services: { service: { url: "http://127.0.0.1:21000" } }
---
route: GET /chain/{id}
timeout: 500ms
calls:
  order: { service: service, get: "/orders/{{request.path.id}}" }
  customer: { service: service, get: "/customers/{{order.body.customer_id}}" }
  product: { service: service, get: "/products/{{order.body.product_id}}" }
  quote:
    service: service
    get: /quotes/{{order.body.product_id}}
    query: { tier: $.customer.body.tier }
    depends_on: [product]
response:
  body:
    order: $.order.body.id
    quantity: $.order.body.quantity
    customer: $.customer.body.name
    product: $.product.body
    quote: $.quote.body
"#;

/// An answer that is written value by value: a list of twenty, texts with holes, a default.
pub const BUILT: &str = r#"
services: { service: { url: "http://127.0.0.1:21000" } }
---
route: GET /built/{id}
calls:
  profile: { service: service, get: "/profiles/{{request.path.id}}" }
  recommendations: { service: service, get: "/recommendations/{{request.path.id}}" }
response:
  body:
    id: $.request.path.id
    greeting: Hello {{profile.body.first_name}}
    segment: $.profile.body.nothing ?? "standard"
    names: $.recommendations.body.items[*].name
    recommended:
      $for: r in $.recommendations.body.items[*]
      $each: { sku: $.r.sku, title: $.r.name, link: "/v1/products/{{r.sku}}" }
    warnings: $.errors
"#;

/// A URL with holes and a query, and a body of JSON.
pub const SENT: &str = r#"
services: { service: { url: "http://127.0.0.1:21000" } }
---
route: GET /sent/{id}
calls:
  asked:
    service: service
    get: /prices/{{request.path.id}}/{{request.query.currency}}
    query: { client: "{{request.id}}", limit: 8, currency: $.request.query.currency }
    headers: { authorization: $.request.headers.authorization, x-page: "page-{{request.path.id}}" }
  told:
    service: service
    post: /orders
    json:
      sku: $.request.path.id
      note: From {{request.host}} for {{request.path.id}}
      payment: { currency: $.request.query.currency, method: card, saved: true }
      lines:
        - { product: $.request.path.id, count: 1, price: 12.10 }
        - { product: "gift-{{request.path.id}}", count: 2, price: 0.50 }
response:
  body: { asked: $.asked.body, told: $.told.body }
"#;

/// What stands below an area in the table of a thousand routes.
pub const SHAPES: [&str; 10] = [
    "",
    "/things",
    "/things/{thing}",
    "/things/{thing}/parts",
    "/things/{thing}/parts/{part}",
    "/things/new",
    "/people",
    "/people/{person}",
    "/people/{person}/orders/{order}",
    "/files/{path...}",
];

/// The one route of this text.
pub fn compiled(text: &str) -> Arc<Route> {
    let file = written(text);
    let examination = check::examine_with(std::slice::from_ref(&file), &|_| None);
    // What is left behind in a temporary folder harms nobody.
    let _ = std::fs::remove_file(&file);
    let findings = examination.diagnostics;
    let table = examination.table.unwrap_or_else(|| panic!("{findings:?}"));
    Arc::clone(&table.routes[0])
}

fn written(text: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("anabranch-bench-{}-{number}.yaml", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, text).expect("the temporary folder takes a file");
    file
}

pub fn call(route: &Route, name: &str) -> CallId {
    let place = route.calls.iter().position(|call| call.name == name);
    CallId(place.expect("the route has the call"))
}
