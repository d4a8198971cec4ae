//! Layer 3 for bulk calls: each row of an answer has a key of its own.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::time::Instant;

use crate::downstream::Client;
use crate::downstream::dial::Dial;
use crate::downstream::front::{Looked, hit, in_background, lasting, send};
use crate::downstream::shelf::{Arrived, Wanted};
use crate::engine::batch;
use crate::engine::fetch::{Answer, Exchange, Found, Row};

/// What is kept for each of these: a row of a bulk call has a key of its own.
pub async fn look_up<D: Dial>(client: &Client<D>, exchanges: Vec<Exchange>) -> Vec<Option<Found>> {
    let wanted = exchanges.iter().filter_map(|exchange| {
        Some(Wanted {
            exchange,
            cache: exchange.call().cache?,
            service: client.name_of(exchange),
        })
    });
    let wanted: Vec<Wanted<'_>> = wanted.collect();
    let found = client.process.shelf.look(&wanted, &*client.observe).await;
    let mut found = found.into_iter();
    let given = exchanges.iter().map(|exchange| {
        exchange.call().cache?;
        let Looked::Given(kept, is_due) = found.next()?.into() else {
            return None;
        };
        Some(Found {
            answer: lasting(kept.answer_to(exchange)?, &kept, exchange),
            note: hit(&kept),
            is_due,
        })
    });
    given.collect()
}

/// Keeps each row for its own key, with the headers of the answer that it came in.
pub fn keep_rows<D: Dial>(client: &Client<D>, answer: &Answer, rows: Vec<Row>) {
    let shelf = &client.process.shelf;
    for Row { exchange, body } in rows {
        let service = client.name_of(&exchange);
        let body = Bytes::copy_from_slice(&body);
        let arrived = || Arrived {
            body: body.clone(),
            ..Arrived::success(answer, Instant::now())
        };
        if let Some(cache) = exchange.call().cache {
            shelf.keep(&exchange, cache, service, arrived());
        }
        if exchange.call().keeps_answers() {
            shelf.keep_last_good(&exchange, service, arrived());
        }
    }
}

/// Asks for rows in the background, unless one of them is asked for already: then the others have
/// time until that has landed, and no row is asked for twice at once.
pub fn renew_rows<D: Dial>(client: &Client<D>, exchange: Exchange, rows: Vec<(String, Exchange)>) {
    let renewals = &client.process.renewals;
    let leaders = rows.iter().map(|(_, row)| renewals.lead(row.key()));
    let Some(leaders) = leaders.collect::<Option<Vec<_>>>() else {
        return;
    };
    let (client, exchange) = (client.clone(), in_background(&exchange));
    let tasks = client.process.tasks.clone();
    // With no room in the set they stay as old as they are.
    let _ = tasks.spawn(async move {
        let climbed = send(&client, exchange.clone(), false).await;
        if let Ok(answer) = climbed.result {
            let mut fresh: HashMap<String, Bytes> =
                batch::rows(&exchange, &answer).into_iter().collect();
            let kept = rows.into_iter().filter_map(|(key, exchange)| {
                let body = fresh.remove(&key)?;
                Some(Row { exchange, body })
            });
            keep_rows(&client, &answer, kept.collect());
        }
        for leader in leaders {
            leader.land(());
        }
    });
}
