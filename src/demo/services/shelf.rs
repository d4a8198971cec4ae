//! What there is to look at: lists of products.

use serde::Serialize;

use crate::demo::message::{Answer, Request};
use crate::demo::shop::{self, PRODUCTS, Product, Shop};

#[derive(Serialize)]
struct Page {
    page: usize,
    total: usize,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    sku: &'static str,
    name: &'static str,
    flags: &'static [&'static str],
}

/// `GET /categories/{slug}/products?page=&size=`.
pub(super) fn catalog(_: &Shop, request: &Request) -> Answer {
    let (method, path) = request.shape();
    let ("GET", ["categories", slug, "products"]) = (method, path.as_slice()) else {
        return Answer::not_found();
    };
    let products: Vec<&Product> = PRODUCTS.iter().filter(|p| p.category == *slug).collect();
    if products.is_empty() {
        return Answer::refuse(404, "no such category");
    }
    let page = request.count("page", 1);
    let size = request.count("size", 20);
    let items = products.iter().skip((page - 1).saturating_mul(size));
    Answer::ok(&Page {
        page,
        total: products.len(),
        items: items.take(size).map(|product| item(product)).collect(),
    })
    .kept("max-age=60")
}

fn item(product: &Product) -> Item {
    Item {
        sku: product.sku,
        name: product.name,
        flags: product.flags,
    }
}

#[derive(Serialize)]
struct Similar {
    user: String,
    items: Vec<Recommended>,
}

#[derive(Serialize)]
struct Recommended {
    sku: &'static str,
    title: &'static str,
}

/// `GET /similar/{sku}?user=&limit=`: others of the same category.
pub(super) fn recommendations(_: &Shop, request: &Request) -> Answer {
    let (method, path) = request.shape();
    let ("GET", ["similar", sku]) = (method, path.as_slice()) else {
        return Answer::not_found();
    };
    let Some(product) = shop::product(sku) else {
        return Answer::refuse(404, "no such product");
    };
    let alike = |other: &&Product| other.category == product.category && other.sku != product.sku;
    let items = PRODUCTS.iter().filter(alike);
    Answer::ok(&Similar {
        user: request.query("user").unwrap_or("anonymous").to_owned(),
        items: items
            .take(request.count("limit", 4))
            .map(|other| Recommended {
                sku: other.sku,
                title: other.name,
            })
            .collect(),
    })
}
