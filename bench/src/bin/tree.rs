//! The aggregator as it is usually written: bodies become `serde_json::Value`, an answer is put together
//! from their parts. A call has 500 ms; 504 when it takes longer, 502 when it fails.

use std::rc::Rc;
use std::time::Duration;

use anabranch_bench::aggregator::{self, Answer, Asked, Error, Services, asked, json, nothing};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_millis(500);

fn main() -> Result<(), Error> {
    aggregator::serve(answer)
}

async fn answer(request: Request<Incoming>, services: Rc<Services>) -> Answer {
    let answer = match asked(request.uri().path()) {
        Some(Asked::Page { id, late }) => page(&services, id, late).await.map(written),
        Some(Asked::Chain { id }) => chain(&services, id).await.map(written),
        Some(Asked::Document { id }) => document(&services, id).await,
        Some(Asked::Large { id }) => large(&services, id).await.map(written),
        _ => Err(StatusCode::NOT_FOUND),
    };
    answer.unwrap_or_else(nothing)
}

async fn page(services: &Services, id: &str, late: u16) -> Result<Value, StatusCode> {
    let (price, mut stock, mut profile, mut recommendations, shipping, mut promotions) = tokio::try_join!(
        fetch(services, late, format!("/prices/{id}")),
        fetch(services, late + 1, format!("/stock/{id}")),
        fetch(services, late + 2, format!("/profiles/{id}")),
        fetch(services, late + 3, format!("/recommendations/{id}")),
        fetch(services, late + 4, format!("/shipping/{id}")),
        fetch(services, late + 5, format!("/promotions/{id}")),
    )?;
    Ok(json!({
        "id": id,
        "price": price,
        "shipping": shipping,
        "available": stock["available"].take(),
        "warehouse": stock["warehouse"]["id"].take(),
        "name": profile["first_name"].take(),
        "postcode": profile["address"]["postcode"].take(),
        "recommended": recommendations["items"].take(),
        "promotion": promotions["best"]["label"].take(),
    }))
}

async fn chain(services: &Services, id: &str) -> Result<Value, StatusCode> {
    let mut order = fetch(services, 0, format!("/orders/{id}")).await?;
    let customer_id = order["customer_id"]
        .as_str()
        .ok_or(StatusCode::BAD_GATEWAY)?;
    let product_id = order["product_id"]
        .as_str()
        .ok_or(StatusCode::BAD_GATEWAY)?;
    let (mut customer, product) = tokio::try_join!(
        fetch(services, 1, format!("/customers/{customer_id}")),
        fetch(services, 2, format!("/products/{product_id}")),
    )?;
    let tier = customer["tier"].as_str().ok_or(StatusCode::BAD_GATEWAY)?;
    let quote = fetch(services, 3, format!("/quotes/{product_id}?tier={tier}")).await?;
    Ok(json!({
        "order": order["id"].take(),
        "quantity": order["quantity"].take(),
        "customer": customer["name"].take(),
        "product": product,
        "quote": quote,
    }))
}

async fn document(services: &Services, id: &str) -> Result<Answer, StatusCode> {
    let path = format!("/document/{id}");
    let asked = timeout(TIMEOUT, services.ask(0, &path))
        .await
        .map_err(|_| StatusCode::GATEWAY_TIMEOUT)?;
    Ok(asked
        .map_err(|_| StatusCode::BAD_GATEWAY)?
        .map(Either::Right))
}

async fn large(services: &Services, id: &str) -> Result<Value, StatusCode> {
    let (catalogue, mut history, mut reviews) = tokio::try_join!(
        fetch(services, 0, format!("/catalogue/{id}")),
        fetch(services, 1, format!("/history/{id}")),
        fetch(services, 2, format!("/reviews/{id}")),
    )?;
    Ok(json!({
        "catalogue": catalogue,
        "orders": history["summary"]["total"].take(),
        "rating": reviews["summary"]["total"].take(),
    }))
}

async fn fetch(services: &Services, number: u16, path: String) -> Result<Value, StatusCode> {
    let fetched = timeout(TIMEOUT, services.fetch(number, &path)).await;
    let body = fetched
        .map_err(|_| StatusCode::GATEWAY_TIMEOUT)?
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_GATEWAY)
}

fn written(answer: Value) -> Answer {
    json(answer.to_string().into_bytes())
}
