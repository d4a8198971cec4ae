//! The floor: what an aggregator costs that does nothing but aggregate. The parts of the bodies that are
//! needed are borrowed from their bytes (everything is checked to be JSON) and put together. It has no
//! timeouts, no limits, no retries and no metrics: what it is compared with has all of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use anabranch_bench::aggregator::{self, Answer, Asked, Error, Services, asked, json, nothing};
use futures_util::future::try_join_all;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

fn main() -> Result<(), Error> {
    aggregator::serve(answer)
}

async fn answer(request: Request<Incoming>, services: Rc<Services>) -> Answer {
    let answer = match asked(request.uri().path()) {
        Some(Asked::Page { id, late }) => page(&services, id, late).await,
        Some(Asked::Chain { id }) => chain(&services, id).await,
        Some(Asked::Document { id }) => document(&services, id).await,
        Some(Asked::Large { id }) => large(&services, id).await,
        Some(Asked::Fan { calls, id }) => fan(&services, calls, id).await,
        Some(Asked::Field { bytes, id }) => field(&services, bytes, id).await,
        Some(Asked::Whole { bytes, id }) => whole(&services, bytes, id).await,
        None => return nothing(StatusCode::NOT_FOUND),
    };
    answer.unwrap_or_else(|_| nothing(StatusCode::BAD_GATEWAY))
}

#[derive(Deserialize)]
struct Stock<'a> {
    #[serde(borrow)]
    available: &'a RawValue,
    #[serde(borrow)]
    warehouse: Id<'a>,
}

#[derive(Deserialize)]
struct Id<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
}

#[derive(Deserialize)]
struct Profile<'a> {
    #[serde(borrow)]
    first_name: &'a RawValue,
    #[serde(borrow)]
    address: Address<'a>,
}

#[derive(Deserialize)]
struct Address<'a> {
    #[serde(borrow)]
    postcode: &'a RawValue,
}

#[derive(Deserialize)]
struct Recommendations<'a> {
    #[serde(borrow)]
    items: &'a RawValue,
}

#[derive(Deserialize)]
struct Promotions<'a> {
    #[serde(borrow)]
    best: Label<'a>,
}

#[derive(Deserialize)]
struct Label<'a> {
    #[serde(borrow)]
    label: &'a RawValue,
}

#[derive(Serialize)]
struct Page<'a> {
    id: &'a str,
    price: &'a RawValue,
    shipping: &'a RawValue,
    available: &'a RawValue,
    warehouse: &'a RawValue,
    name: &'a RawValue,
    postcode: &'a RawValue,
    recommended: &'a RawValue,
    promotion: &'a RawValue,
}

async fn page(services: &Services, id: &str, late: u16) -> Result<Answer, Error> {
    let paths = [
        "prices",
        "stock",
        "profiles",
        "recommendations",
        "shipping",
        "promotions",
    ]
    .map(|name| format!("/{name}/{id}"));
    let (price, stock, profile, recommendations, shipping, promotions) = tokio::try_join!(
        services.fetch(late, &paths[0]),
        services.fetch(late + 1, &paths[1]),
        services.fetch(late + 2, &paths[2]),
        services.fetch(late + 3, &paths[3]),
        services.fetch(late + 4, &paths[4]),
        services.fetch(late + 5, &paths[5]),
    )?;
    let stock: Stock = serde_json::from_slice(&stock)?;
    let profile: Profile = serde_json::from_slice(&profile)?;
    let page = Page {
        id,
        price: serde_json::from_slice(&price)?,
        shipping: serde_json::from_slice(&shipping)?,
        available: stock.available,
        warehouse: stock.warehouse.id,
        name: profile.first_name,
        postcode: profile.address.postcode,
        recommended: serde_json::from_slice::<Recommendations>(&recommendations)?.items,
        promotion: serde_json::from_slice::<Promotions>(&promotions)?
            .best
            .label,
    };
    let size = price.len() + shipping.len() + recommendations.len() + 512;
    written(&page, size)
}

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    quantity: &'a RawValue,
    #[serde(borrow)]
    customer_id: Cow<'a, str>,
    #[serde(borrow)]
    product_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Customer<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow)]
    tier: Cow<'a, str>,
}

#[derive(Serialize)]
struct Chain<'a> {
    order: &'a RawValue,
    quantity: &'a RawValue,
    customer: &'a RawValue,
    product: &'a RawValue,
    quote: &'a RawValue,
}

async fn chain(services: &Services, id: &str) -> Result<Answer, Error> {
    let order = services.fetch(0, &format!("/orders/{id}")).await?;
    let order: Order = serde_json::from_slice(&order)?;
    let customer_path = format!("/customers/{}", order.customer_id);
    let product_path = format!("/products/{}", order.product_id);
    let (customer, product) = tokio::try_join!(
        services.fetch(1, &customer_path),
        services.fetch(2, &product_path)
    )?;
    let customer: Customer = serde_json::from_slice(&customer)?;
    let quote_path = format!("/quotes/{}?tier={}", order.product_id, customer.tier);
    let quote = services.fetch(3, &quote_path).await?;
    let chain = Chain {
        order: order.id,
        quantity: order.quantity,
        customer: customer.name,
        product: serde_json::from_slice(&product)?,
        quote: serde_json::from_slice(&quote)?,
    };
    written(&chain, product.len() + quote.len() + 256)
}

async fn document(services: &Services, id: &str) -> Result<Answer, Error> {
    Ok(services
        .ask(0, &format!("/document/{id}"))
        .await?
        .map(Either::Right))
}

#[derive(Deserialize)]
struct Summarised<'a> {
    #[serde(borrow)]
    summary: Total<'a>,
}

#[derive(Deserialize)]
struct Total<'a> {
    #[serde(borrow)]
    total: &'a RawValue,
}

#[derive(Serialize)]
struct Large<'a> {
    catalogue: &'a RawValue,
    orders: &'a RawValue,
    rating: &'a RawValue,
}

async fn large(services: &Services, id: &str) -> Result<Answer, Error> {
    let paths = ["catalogue", "history", "reviews"].map(|name| format!("/{name}/{id}"));
    let (catalogue, history, reviews) = tokio::try_join!(
        services.fetch(0, &paths[0]),
        services.fetch(1, &paths[1]),
        services.fetch(2, &paths[2]),
    )?;
    let large = Large {
        catalogue: serde_json::from_slice(&catalogue)?,
        orders: serde_json::from_slice::<Summarised>(&history)?
            .summary
            .total,
        rating: serde_json::from_slice::<Summarised>(&reviews)?
            .summary
            .total,
    };
    written(&large, catalogue.len() + 256)
}

async fn fan(services: &Services, calls: usize, id: &str) -> Result<Answer, Error> {
    let path = format!("/bytes/1000/{id}");
    let bodies =
        try_join_all((0..calls).map(|call| services.fetch(call as u16 % 8, &path))).await?;
    let mut fields = BTreeMap::new();
    for (call, body) in bodies.iter().enumerate() {
        fields.insert(
            format!("c{call}"),
            serde_json::from_slice::<Summarised>(body)?.summary.total,
        );
    }
    written(&fields, 32 * calls)
}

#[derive(Serialize)]
struct Part<'a> {
    part: &'a RawValue,
}

async fn field(services: &Services, bytes: &str, id: &str) -> Result<Answer, Error> {
    let body = services.fetch(0, &format!("/bytes/{bytes}/{id}")).await?;
    written(
        &Part {
            part: serde_json::from_slice::<Summarised>(&body)?.summary.total,
        },
        64,
    )
}

async fn whole(services: &Services, bytes: &str, id: &str) -> Result<Answer, Error> {
    let body = services.fetch(0, &format!("/bytes/{bytes}/{id}")).await?;
    written(
        &Part {
            part: serde_json::from_slice(&body)?,
        },
        body.len() + 64,
    )
}

fn written(answer: &impl Serialize, size: usize) -> Result<Answer, Error> {
    let mut body = Vec::with_capacity(size);
    serde_json::to_writer(&mut body, answer)?;
    Ok(json(body))
}
